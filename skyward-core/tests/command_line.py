"""The command ``skyward`` for tests, and the ledgers that it goes by."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from skyward import _cli
from skyward._ledger import state_folder


def ledgers() -> list[str]:
    return sorted(os.listdir(state_folder())) if state_folder().exists() else []


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: exit status, output, errors. Local nodes of others are not seen."""
    monkeypatch.setattr("skyward._local_processes._environments", lambda: iter(()))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = _cli.main(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call
