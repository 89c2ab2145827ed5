"""Waiting until machines run: one question to a provider for all of its machines, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from attrs import frozen

from skyward._asking import persistently
from skyward._concurrency import seen_through
from skyward._teardown import describe
from skyward.errors import ProvisioningError, SkywardError, Transient
from skyward.model.instance import Instance, InstanceState

if TYPE_CHECKING:
    from skyward._market import Seller

__all__ = ["MachineLost", "MachineUnreachable", "Watch", "unreachable"]

_UNKNOWN_FOR = 60.0
"""Seconds after a launch in which a provider may not know its own machine yet."""

_OVER_EVERY = 15.0
"""Seconds between looks whether a machine that is made ready is there: its bootstrap may hang when it is gone."""


class MachineLost(ProvisioningError):
    """A machine has ended, or its provider does not know it any more."""


class MachineUnreachable(ProvisioningError):
    """A machine runs by its provider's word, and cannot be reached."""


def unreachable(instance_id: str, seller: Seller, error: Exception) -> MachineUnreachable:
    """The error for a machine to which a connection failed."""
    return MachineUnreachable(
        f"machine {instance_id} of {seller.provider.name} runs, but cannot be reached: {error}; see whether a firewall "
        "stands between, or choose another machine"
    )


@frozen(eq=False)
class _Wait:
    running: asyncio.Future[Instance]
    known_by: float


class Watch:
    """Machines of one seller: those that do not run yet, or, with ``over_running``, those that must not end now."""

    def __init__(self, seller: Seller, *, over_running: bool = False) -> None:
        self._seller = seller
        self._over_running = over_running
        self._waits: dict[str, _Wait] = {}
        self._polling: asyncio.Task[None] | None = None

    async def until_running(self, instance_id: str) -> Instance:
        """Wait for one machine; returns it as it is then.

        Raises:
            MachineLost: it has ended, or its provider does not know it.
            SkywardError: the provider cannot tell.
        """
        loop = asyncio.get_running_loop()
        wait = self._waits[instance_id] = _Wait(loop.create_future(), loop.time() + _UNKNOWN_FOR)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.ensure_future(self._poll())
        try:
            return await wait.running
        finally:
            if wait.running.done() and not wait.running.cancelled():
                wait.running.exception()  # seen, although whoever waited was cancelled
            self._waits.pop(instance_id, None)
            if not self._waits:
                await self._stop()

    async def over[T](self, instance_id: str, work: Coroutine[Any, Any, T]) -> T:
        """Do something with a running machine; when that ends meanwhile, it is cut off.

        Raises:
            MachineLost: the machine has ended.
        """
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self.until_running(instance_id))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done = next(task for task in tasks if task.done())
            return done.result()  # type: ignore[return-value]  # the second one never returns
        finally:
            for task in tasks:
                task.cancel()
            caught = await seen_through(tasks)
            if caught is not None:
                raise caught

    async def _stop(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            caught = await seen_through([polling])
            if caught is not None:
                raise caught

    async def _poll(self) -> None:
        try:
            while self._unknown():
                if self._over_running:  # whatever is wrong with the question, the work goes on
                    await asyncio.sleep(_OVER_EVERY)
                    await persistently(self._look, on=(_NotYet, SkywardError), first=_OVER_EVERY, longest=_OVER_EVERY)
                else:
                    await persistently(self._look, on=(_NotYet, Transient), first=0.25, longest=5)
        except Exception as error:  # noqa: BLE001  whoever waits raises it
            for wait in self._unknown().values():
                wait.running.set_exception(error)

    def _unknown(self) -> dict[str, _Wait]:
        """The machines of which it is not known yet what becomes of them."""
        return {name: wait for name, wait in self._waits.items() if not wait.running.done()}

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time
        waits = self._unknown()
        found = await describe(self._seller, list(waits)) if waits else {}
        for name, wait in waits.items():
            instance = found.get(name)
            if wait.running.done() or (instance is None and now() < wait.known_by):
                continue
            if instance is None or instance.state is InstanceState.GONE:
                why = (
                    f"machine {name} of {self._seller.provider.name} ended before it was ready; its provider's console "
                )
                wait.running.set_exception(MachineLost(f"{why}may say why"))
            elif instance.state is InstanceState.RUNNING and not self._over_running:
                wait.running.set_result(instance)
        if self._unknown():
            raise _NotYet


class _NotYet(Exception):
    """Some machine does not run yet."""
