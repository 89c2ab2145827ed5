"""What nodes say first in their logs: the public key of their SSH server.

The engine's log is a way from the container to this client that nobody else can write to, and it costs less than any
that would bring a key in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skyward import SkywardError, Unavailable
from skyward_container import _node
from skyward_container._engine import Engine

__all__ = ["host_keys"]

_LIMIT = 60.0
"""Seconds that an SSH server may take to start, on a machine that has much else to do."""
_PAUSE = 0.05
"""Seconds before the second look; each further pause is twice as long, up to one second."""


async def host_keys(engine: Engine, names: Sequence[str]) -> dict[str, str | SkywardError]:
    """Wait until each container has said the public key of its SSH server, or is known to say none, with the reason."""
    found: dict[str, str | SkywardError] = {}
    end, pause, together = asyncio.get_running_loop().time() + _LIMIT, _PAUSE, True
    while waiting := [name for name in names if name not in found]:
        logs = await _together(engine, waiting) if together and len(waiting) > 1 else None
        together = logs is not None
        for name, log in (logs or await _each(engine, waiting)).items():
            if isinstance(log, SkywardError):
                found[name] = log
                continue
            key, trouble = _node.host_key(name, log)
            if key:
                found[name] = key
            elif trouble:
                found[name] = Unavailable(f"the SSH server of {name} does not start: {trouble}; {_REMEDY}")
            elif asyncio.get_running_loop().time() >= end:
                why = f"{name} has not said within {_LIMIT:g} s that its SSH server runs"
                found[name] = Unavailable(f"{why}: see `{engine.name} logs` of a container of that image")
        if len(found) < len(names):
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
    return found


_REMEDY = "name another image, made from Debian or Ubuntu, by sky.Container(image=...)"


async def _together(engine: Engine, names: Sequence[str]) -> dict[str, str | SkywardError] | None:
    """The logs of several containers by one command, where the engine has that: podman has, Docker has not."""
    answer = await engine.ask("logs", *names)
    return None if answer.status else dict.fromkeys(names, answer.output)


async def _each(engine: Engine, names: Sequence[str]) -> dict[str, str | SkywardError]:
    async def log(name: str) -> str | SkywardError:
        try:
            answer = await engine.ask("logs", name)
        except SkywardError as error:
            return error
        if not answer.status:
            return answer.output
        return Unavailable(
            f"the container {name} cannot be asked, it may have ended as soon as it was started: {answer.words}; see "
            f"`{engine.name} events`"
        )

    return dict(zip(names, await asyncio.gather(*map(log, names)), strict=True))
