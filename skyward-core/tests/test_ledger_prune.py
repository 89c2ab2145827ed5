"""Ledgers of clients that were killed: removed once nothing of their pools is left, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyward._ledger import Ledger, prune


def left_by_a_dead_client(folder: Path, name: str, *providers: str) -> Path:
    ledger = Ledger(name, folder)
    ledger.record("opened", owner="somebody", providers=list(providers))
    ledger.close(clean=False)
    return ledger.path


def test_a_ledger_goes_when_its_client_is_dead_and_its_pool_is_gone(tmp_path: Path) -> None:
    path = left_by_a_dead_client(tmp_path, "dead", "Local")
    prune("Local", lambda pool_id: pool_id == "dead", tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("providers", [["AWS"], ["Local", "AWS"]])
def test_a_ledger_stays_when_it_tells_of_another_providers_machines(tmp_path: Path, providers: list[str]) -> None:
    path = left_by_a_dead_client(tmp_path, "dead", *providers)
    prune("Local", lambda _: True, tmp_path)
    assert path.exists()


def test_a_ledger_stays_while_something_of_its_pool_is_left(tmp_path: Path) -> None:
    path = left_by_a_dead_client(tmp_path, "dead", "Local")
    prune("Local", lambda _: False, tmp_path)
    assert path.exists()


def test_a_ledger_stays_while_its_client_lives(tmp_path: Path) -> None:
    ledger = Ledger("alive", tmp_path)
    ledger.record("opened", owner="somebody", providers=["Local"])
    prune("Local", lambda _: True, tmp_path)
    assert ledger.path.exists()
    ledger.close(clean=True)


def test_what_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text("not json\n")
    prune("Local", lambda _: True, tmp_path)
    assert path.exists()
