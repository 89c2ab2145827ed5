"""What AWS says of itself and seldom changes, kept on disk with its age."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from skyward import Transient
from skyward.spi import building, cache_folder

__all__ = ["kept"]

_log = logging.getLogger("skyward.aws")

_FORM = 1
"""Grows with the form of what is kept, so that another release's files are not read."""


async def kept[T](name: str, age: float, make: Callable[[], Awaitable[T]]) -> T:
    """What ``make`` gives, which JSON must be able to hold; from the disk where it is there and not too old.

    Several processes that need the same thing ask for it once. What cannot be renewed because of a passing failure is
    of use for a while longer.

    Args:
        name: tells it from what else is kept.
        age: seconds for which it is of use.
        make: asks for it anew.
    """
    path = cache_folder("aws") / f"{name}-{_FORM}.json"
    found = await asyncio.to_thread(_read, path)
    if found is not None and _age(found) < age:
        return found["value"]  # type: ignore[no-any-return]
    async with building(path.with_suffix("")):
        found = await asyncio.to_thread(_read, path)  # somebody else may have been quicker
        if found is not None and _age(found) < age:
            return found["value"]  # type: ignore[no-any-return]
        try:
            value = await make()
        except Transient as error:
            if found is None or _age(found) > 7 * 86400:
                raise
            _log.warning("what was kept %.0f hours ago has to do for %s: %s", _age(found) / 3600, name, error)
            return found["value"]  # type: ignore[no-any-return]
        await asyncio.to_thread(_write, path, {"at": time.time(), "value": value})
        return value


def _age(found: dict[str, Any]) -> float:
    """Seconds since it was written; for ever for what comes from a clock that was set back since."""
    age = time.time() - float(found["at"])
    return age if age >= 0 else float("inf")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found["at"], float) and "value" in found else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a file that is missing or was cut off is made anew


def _write(path: Path, content: dict[str, Any]) -> None:
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(content))
        scratch.replace(path)
    except OSError as error:
        _log.warning("%s cannot be kept: %s", path, error)
