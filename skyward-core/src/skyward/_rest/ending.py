"""Ending machines: all of those that can be, whatever befalls one, and until the vendor says that they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skyward._concurrency import shielded
from skyward._rest.known import exists
from skyward._rest.launching import most_telling
from skyward.errors import ProviderError, Transient
from skyward.model.instance import Instance, InstanceState

if TYPE_CHECKING:
    from skyward._rest.session import RestSession

__all__ = ["bury", "end"]

_log = logging.getLogger("skyward.rest")

_PAUSES = (0.5, 1.0, 2.0, 4.0)


async def end(session: RestSession[Any], ids: Sequence[str]) -> None:
    """End machines and remove belongings; see `RestSession.terminate`."""
    names = list(dict.fromkeys(ids))
    own = {name: session.identity.pool_id for name in names if name in session.known}
    strange = [name for name in names if name not in own]
    problems: list[BaseException] = []
    found: Mapping[str, Instance] = {}
    try:
        # What is no pool's is left alone, whoever asks for it.
        found = await session.describe(strange) if strange else {}
    except ProviderError as error:
        problems.append(error)
    there = {name: each.pool_id for name, each in found.items() if exists(each)} | own

    failures = await _delete(session, list(there))
    problems += failures.values()
    asked = [name for name in there if name not in failures]
    session.known.ending(asked)
    try:
        left = await _left(session, asked)
        session.known.forget(name for name in asked if name not in left)
        if left:
            raise Transient(f"{session.rest.vendor} was asked to end {', '.join(left)}, and still has it")
    except ProviderError as error:
        problems.append(error)
    for pool_id in sorted(set(there.values())):
        try:
            await session.clear(pool_id)
        except Exception as error:  # noqa: BLE001  raised below, after the others had their turn
            problems.append(error)
    if problems:
        raise most_telling(problems)


async def bury(session: RestSession[Any], machines: Iterable[Instance]) -> None:
    """End those of the pool that serve nobody any more, and cost. What fails is done again at the next look."""
    pool_id = session.identity.pool_id
    dead = [
        each.id for each in machines if each.pool_id == pool_id and each.state is InstanceState.GONE and exists(each)
    ]
    for name, error in (await shielded(_delete(session, dead))).items() if dead else ():
        _log.warning("%s of %s does nothing any more, and costs on: %s", name, session.rest.vendor, error)
        if not isinstance(error, ProviderError):
            raise error


async def _delete(session: RestSession[Any], names: Sequence[str]) -> dict[str, BaseException]:
    """Ask for the end of each; what failed."""
    turn = asyncio.Semaphore(session.width)

    async def one(name: str) -> None:
        async with turn:
            await session._delete(name)

    outcomes = await asyncio.gather(*map(one, names), return_exceptions=True)
    return {name: each for name, each in zip(names, outcomes, strict=True) if isinstance(each, BaseException)}


async def _left(session: RestSession[Any], names: Sequence[str]) -> list[str]:
    """Those that are still there when patience has run out."""
    waits = session.rest.waits
    until, left, looks = waits.now() + session.settle, list(names), 0
    while left:
        found = await session.describe(left)
        left = [name for name in left if name in found and exists(found[name])]
        pause = _PAUSES[min(looks, len(_PAUSES) - 1)]
        if not left or waits.now() + pause > until:
            break
        await waits.sleep(pause)
        looks += 1
    return left
