"""The user's cache folder: who builds an entry, who uses it, and when it is thrown away.

An entry is a folder. Beside it stand a lock for its builder (``NAME.lock``) and one for its users (``NAME.use``), both
``flock`` locks, so that the kernel takes them back from a process that dies, however it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from skyward.errors import ConfigurationError

__all__ = ["KEEP_DAYS", "building", "cache_folder", "hold", "is_fresh", "prune", "scratch_folder"]

KEEP_DAYS = 30
"""An entry that nobody used for that many days is removed when a new one is built."""

_POLL_SECONDS = 0.05

_held: dict[Path, int] = {}


def cache_folder(name: str) -> Path:
    """``$XDG_CACHE_HOME/skyward/NAME`` or ``~/.cache/skyward/NAME``, made when missing; no other user can read it.

    A plugin that keeps something from pool to pool names its folder after itself. Users may remove it at any time.
    Raises ``ConfigurationError`` when it cannot be made.
    """
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of XDG_CACHE_HOME says that a relative path is to be ignored.
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"
    folder = base / "skyward" / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the cache folder {folder} cannot be made ({error.strerror}): set XDG_CACHE_HOME to one that can"
        ) from error
    return folder


def scratch_folder(parent: Path, prefix: str) -> Path:
    """A new folder in ``parent``; what a builder that died left there is swept by the next builder."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def _lock(path: Path, operation: int) -> int | None:
    """A descriptor that holds the lock, or ``None`` while somebody else has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            # Whoever prunes an entry removes its locks too: a lock on a file that is gone would keep nobody out.
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _beside(entry: Path, suffix: str) -> Path:
    return entry.with_name(entry.name + suffix)


@contextlib.asynccontextmanager
async def building(entry: Path) -> AsyncGenerator[None]:
    """Be the only builder of ``entry`` on this machine. Waits, without blocking the loop, while another one builds.

    ``entry`` is a path in a folder that ``cache_folder`` gives; it need not exist. The lock is a file beside it, which
    the kernel takes back from a process that dies. Whoever has waited looks whether the entry was built meanwhile.
    """
    while (descriptor := _lock(_beside(entry, ".lock"), fcntl.LOCK_EX)) is None:  # noqa: ASYNC110 - a lock of another process wakes nobody here
        await asyncio.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


async def hold(entry: Path) -> None:
    """Keep ``entry`` from being pruned as long as this process lives. One descriptor for each entry ever used."""
    while entry not in _held:
        descriptor = _lock(_beside(entry, ".use"), fcntl.LOCK_SH)
        if descriptor is None:
            await asyncio.sleep(_POLL_SECONDS)
        elif _held.setdefault(entry, descriptor) != descriptor:
            os.close(descriptor)


def is_fresh(entry: Path) -> bool:
    """Whether ``entry`` was used in the last ``KEEP_DAYS`` days. A use is told by its time of change."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - entry.stat().st_mtime < KEEP_DAYS * 86400
    return False


def prune(folder: Path) -> None:
    """Remove the entries of ``folder`` that are neither fresh, nor in use, nor being built."""
    for entry in folder.iterdir():
        if entry.is_dir() and not is_fresh(entry):
            _remove(entry)


def _remove(entry: Path) -> None:
    locks = [_beside(entry, ".use"), _beside(entry, ".lock")]
    taken: list[int] = []
    try:
        for path in locks:
            descriptor = _lock(path, fcntl.LOCK_EX)
            if descriptor is None:
                return
            taken.append(descriptor)
        if is_fresh(entry):
            return
        shutil.rmtree(entry, ignore_errors=True)
        for path in locks:
            path.unlink(missing_ok=True)
    finally:
        for descriptor in taken:
            os.close(descriptor)
