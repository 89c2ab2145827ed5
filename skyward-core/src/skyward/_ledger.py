"""What a pool asked for and created, on disk before it is asked for, so that nothing is forgotten when a client dies.

One file per pool below the user's state folder, a line of JSON per fact. A pool that ended in order leaves none. The
client holds a lock on the file for as long as it lives, so that whoever finds it can tell whether it is still of use.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from skyward import _clock
from skyward.errors import ConfigurationError

__all__ = ["Ledger", "fingerprint", "state_folder"]


def state_folder() -> Path:
    """Where ledgers are: ``$XDG_STATE_HOME/skyward/pools``, by default below ``~/.local/state``."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(base) / "skyward" / "pools"


def fingerprint(settings: object) -> str:
    """Tells a provider's settings from others of the same provider, such as of another region; shows none of them.

    Empty for settings whose ``repr`` does not tell what they are.
    """
    if type(settings).__repr__ is object.__repr__:
        return ""
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:12]


class Ledger:
    """The facts of one pool. Holds no secrets.

    Args:
        pool_id: the pool's unique name, which names the file as well.
        folder: where to keep it.

    Raises:
        ConfigurationError: the folder cannot be written to.
    """

    def __init__(self, pool_id: str, folder: Path | None = None) -> None:
        self.path = (folder or state_folder()) / f"{pool_id}.jsonl"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = _locked(self.path)
        except OSError as error:
            raise self._unwritable(error) from error

    def record(self, fact: str, **values: str | float | Sequence[str] | Sequence[int] | None) -> None:
        """Append a fact. It is with the operating system when this returns, so the client may die at once.

        Raises:
            ConfigurationError: it cannot be written.
        """
        line = json.dumps({"fact": fact, "time": _clock.current().time(), **values})
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the ledger of machines cannot be written ({error}), and without it a client that dies could leave some "
            "behind: make room for it, or set XDG_STATE_HOME to a folder that you may write to"
        )

    def close(self, *, clean: bool) -> None:
        """Close the file, and remove it when nothing of the pool is left."""
        if clean:  # while it is locked, so that nobody takes it for a dead client's
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        with contextlib.suppress(OSError):  # what could not be flushed was reported when it was recorded
            self._file.close()


def _locked(path: Path) -> IO[str]:
    """Open a file and lock it. Whoever looks for ledgers of the dead may lock, or remove, one that is empty yet."""
    while True:
        file = open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
