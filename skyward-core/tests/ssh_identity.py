"""A user's key for the tests' SSH server: in a file, and in an agent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def identity(sshd: Any, tmp_path: Path) -> Path:
    """A file with the key that the server knows."""
    path = tmp_path / "id"
    path.write_text(sshd.key.private)
    path.chmod(0o600)
    return path


@pytest.fixture
def agent(identity: Path, tmp_path: Path, require: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent, the client's own, that holds the key of that file; its socket."""
    socket = tmp_path / "agent.sock"
    require(len(str(socket)) < 100, "a temporary folder with a short name", ci=False)
    process = subprocess.Popen([require.command("ssh-agent"), "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run([require.command("ssh-add"), "-q", str(identity)], check=True)
        yield socket
    finally:
        process.terminate()
        process.communicate()
