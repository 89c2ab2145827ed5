"""The deadline of a container after it was moved: in a file inside, since labels stay as they are.

`node.sh` reads it as well, so that its dead man's switch follows. It is gone with the container.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterable

from skyward import Transient
from skyward_container._engine import Engine

__all__ = ["move", "moved"]

_MOVE = """\
umask 077
read -r now _ </proc/uptime
echo "$((${now%.*} + $1)) $2" >/run/skyward/deadline.new
mv /run/skyward/deadline.new /run/skyward/deadline
"""
_AT_A_TIME = 8
"""Containers that are asked at the same time: each question starts processes of the engine's."""


async def move(engine: Engine, name: str, deadline: float) -> str:
    """Move the deadline of a running container to this moment; what kept it from that, in words.

    Args:
        engine: where it runs.
        name: the container.
        deadline: seconds since the epoch.
    """
    left = math.ceil(deadline - time.time())
    answer = await engine.ask("exec", name, "sh", "-ec", _MOVE, "sh", str(left), f"{deadline:.3f}", whole=True)
    return answer.words if answer.status else ""


async def moved(engine: Engine, names: Iterable[str]) -> dict[str, float]:
    """The deadlines of those running containers whose deadline was moved, in seconds since the epoch.

    One that cannot be asked, for instance because it is paused, is left out.
    """
    turn = asyncio.Semaphore(_AT_A_TIME)
    found: dict[str, float] = {}

    async def look(name: str) -> None:
        async with turn:
            answer = await engine.ask("exec", name, "cat", "/run/skyward/deadline")
        with contextlib.suppress(IndexError, ValueError):
            found[name] = float(answer.output.split()[1])

    outcomes = await asyncio.gather(*map(look, names), return_exceptions=True)
    if failures := [outcome for outcome in outcomes if isinstance(outcome, BaseException)]:
        if all(isinstance(failure, Transient) for failure in failures):
            raise Transient(f"{engine.name} does not tell the deadlines of containers: {failures[0]}")
        raise failures[0]
    return found
