"""A session as the kit calls it: with a limit, and with a look at what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from skyward.errors import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.spi.provider import Belongings, LaunchRequest, PoolIdentity, Session
from skyward.testing.conformance._kit import Broken, check

if TYPE_CHECKING:
    from skyward.testing.conformance._account import Account

__all__ = ["Guarded", "asked", "attempted", "living"]

_CLOSED_SET = (Unavailable, QuotaExceeded, AuthenticationFailed, Transient)
_ATTEMPTS = 4


async def asked[T](what: str, call: Callable[[], Awaitable[T]], patience: float) -> T:
    """Await one call of a provider; again after ``Transient``, as core does.

    Raises:
        Broken: it raised something outside the closed set, or did not answer within ``patience`` seconds of the loop.
        ProviderError: one of the closed set.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _once(what, call, patience)
        except Transient as error:
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(1.0 if error.retry_after is None else error.retry_after)
    raise AssertionError("unreachable")


async def attempted[T](what: str, call: Callable[[], Awaitable[T]], patience: float) -> T | ProviderError:
    """Await one call of a provider, once. What it raises of the closed set is returned.

    Raises:
        Broken: as of `asked`.
    """
    try:
        return await _once(what, call, patience)
    except ProviderError as error:
        return error


async def _once[T](what: str, call: Callable[[], Awaitable[T]], patience: float) -> T:
    timer = asyncio.timeout(patience)
    try:
        async with timer:
            return await call()
    except (*_CLOSED_SET, Broken):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Broken(f"{what} ended as if it were cancelled, and nobody cancelled it; raise Transient") from error
    except Exception as error:
        if timer.expired():
            raise Broken(
                f"{what} did not answer within {patience:g} s; give each request to the vendor a time-out, and raise "
                "Transient"
            ) from error
        raise Broken(
            f"{what} raised {type(error).__name__}: {error}; raise Unavailable, QuotaExceeded, AuthenticationFailed or "
            "Transient instead: nothing else is allowed"
        ) from error


def living(machines: Iterable[Instance]) -> set[str]:
    """The ids of those that are not ``GONE``."""
    return {machine.id for machine in machines if machine.state is not InstanceState.GONE}


class Guarded:
    """An open session of one pool.

    Each call fails with :class:`Broken` when it takes too long, raises what it may not, or answers what is no answer.

    Attributes:
        raw: the session itself.
        identity: what it was opened with.
    """

    def __init__(self, account: Account, raw: Session, identity: PoolIdentity) -> None:
        self.raw = raw
        self.identity = identity
        self.closed = False
        self._account = account

    async def offers(self, spec: ComputeSpec) -> list[Offer]:
        """What it sells."""
        return _list(await self._ask("offers", lambda: self.raw.offers(spec)), Offer, "offers")

    async def launch(self, request: LaunchRequest) -> list[Instance]:
        """Buy; the account remembers what it has to remove."""
        answer = await self._ask("launch", lambda: self.raw.launch(request))
        machines = _list(answer, Instance, "launch")
        self._account.remember(self.identity, machines)
        return machines

    async def attempt(self, request: LaunchRequest) -> list[Instance] | ProviderError:
        """Buy, without a second try. What it raised of the closed set is returned."""
        answer = await attempted("launch", lambda: self.raw.launch(request), self._account.patience)
        if isinstance(answer, ProviderError):
            return answer
        machines = _list(answer, Instance, "launch")
        self._account.remember(self.identity, machines)
        return machines

    async def describe(self, ids: Collection[str]) -> dict[str, Instance]:
        """The present state."""
        answer = cast("object", await self._ask("describe", lambda: self.raw.describe(list(ids))))
        check(
            isinstance(answer, Mapping), f"describe returned {answer!r}; return a mapping from each id to its Instance"
        )
        found = cast("Mapping[object, object]", answer)
        for name, machine in found.items():
            check(isinstance(machine, Instance), f"describe returned {machine!r} for {name!r}; return an Instance")
        return cast("dict[str, Instance]", dict(found))

    async def terminate(self, ids: Collection[str]) -> None:
        """End machines."""
        await self._ask("terminate", lambda: self.raw.terminate(list(ids)))

    async def extend(self, ids: Collection[str], deadline: float) -> None:
        """Move their deadline."""
        await self._ask("extend", lambda: self.raw.extend(list(ids), deadline))

    async def list_owned(self, pool_id: str | None) -> list[Instance]:
        """Find machines."""
        return _list(await self._ask("list_owned", lambda: self.raw.list_owned(pool_id)), Instance, "list_owned")

    async def list_left(self, pool_id: str | None) -> list[Instance]:
        """Find what pools have left beside machines; nothing, where the session has no such things."""
        raw = self.raw
        if not isinstance(raw, Belongings):
            return []
        return _list(await self._ask("list_left", lambda: raw.list_left(pool_id)), Instance, "list_left")

    async def close(self) -> None:
        """Close."""
        self.closed = True
        await self._ask("close", self.raw.close)

    async def gone(self, ids: Collection[str]) -> str:
        """What speaks against all of these being gone, in words; nothing when they are."""
        left = living((await self.describe(ids)).values())
        return f"{', '.join(sorted(left))} still there after terminate; end machines for good" if left else ""

    async def _ask[T](self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        return await asked(what, call, self._account.patience)


def _list[T](answer: Sequence[T], kind: type[T], what: str) -> list[T]:
    """The answer as a list of what it should hold."""
    given = cast("object", answer)
    fine = isinstance(given, Sequence) and all(isinstance(each, kind) for each in cast("Sequence[object]", given))
    check(fine, f"{what} returned {given!r}; return a list of {kind.__name__} values")
    return list(answer)
