"""What a pool asked for and created, on disk before it is asked for, so that nothing is forgotten when a client dies.

One file per pool below the user's state folder, a line of JSON per fact. A pool that ended in order leaves none. The
client holds a lock on the file for as long as it lives, so that whoever finds it can tell whether it is still of use.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from skyward.errors import ConfigurationError

__all__ = ["Ledger", "prune", "state_folder"]


def state_folder() -> Path:
    """Where ledgers are: ``$XDG_STATE_HOME/skyward/pools``, by default below ``~/.local/state``."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(base) / "skyward" / "pools"


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
            self._file: IO[str] = open(  # noqa: SIM115  kept open for the pool's life
                self.path, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)
            )
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise self._unwritable(error) from error

    def record(self, fact: str, **values: str | float | Sequence[str] | Sequence[int] | None) -> None:
        """Append a fact. It is with the operating system when this returns, so the client may die at once.

        Raises:
            ConfigurationError: it cannot be written.
        """
        line = json.dumps({"fact": fact, "time": time.time(), **values})
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
        with contextlib.suppress(OSError):  # what could not be flushed was reported when it was recorded
            self._file.close()
        if clean:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def prune(provider: str, is_gone: Callable[[str], bool], folder: Path | None = None) -> None:
    """Remove the ledgers of dead clients whose pools were of this provider alone and are gone.

    ``is_gone`` tells, by a pool's id, whether nothing of it is left.
    """
    for path in (folder or state_folder()).glob("*.jsonl"):
        with contextlib.suppress(OSError, ValueError, KeyError), open(path, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if json.loads(file.readline())["providers"] == [provider] and is_gone(path.stem):
                path.unlink()
