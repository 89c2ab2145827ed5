"""Launching machines side by side: whatever is made is told, or removed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from attrs import evolve

from skyward._concurrency import seen_through, shielded
from skyward._rest.label import LABEL, MachineLabel
from skyward._rest.order import Order
from skyward.errors import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.model.instance import Instance
from skyward.spi.provider import LaunchRequest

if TYPE_CHECKING:
    from skyward._rest.session import RestSession

__all__ = ["launch", "most_telling"]

_log = logging.getLogger("skyward.rest")

_REFUSALS = (AuthenticationFailed, QuotaExceeded, Unavailable)
"""What one machine of an offer is refused with, the others will be, too; the most telling first."""


async def launch(session: RestSession[Any], request: LaunchRequest) -> list[Instance]:
    """Launch the machines of a request; see `RestSession.launch`."""
    launching = _Launch(session, request)
    task = asyncio.ensure_future(launching.run())
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        launching.stopped = True
        await seen_through([task])
        if not task.cancelled():
            task.exception()  # it is nobody's any more
        await shielded(launching.undo())
        raise
    return task.result()


def most_telling(failures: list[BaseException]) -> BaseException:
    """The failure that decides what is to be done."""
    for kind in _REFUSALS:
        for failure in failures:
            if isinstance(failure, kind):
                return failure
    return min(failures, key=lambda each: (isinstance(each, ProviderError), isinstance(each, Transient)))


class _Launch:
    """One call of ``launch``."""

    def __init__(self, session: RestSession[Any], request: LaunchRequest) -> None:
        self.stopped = False
        self._session = session
        self._request = request
        self._made: dict[str, Instance] = {}
        self._turn = asyncio.Semaphore(session.width)

    async def run(self) -> list[Instance]:
        """The machines, fewer than were asked for if need be.

        Raises:
            Exception: there are none.
        """
        async with self._session.needed():
            outcomes = await asyncio.gather(*map(self._one, self._request.nodes), return_exceptions=True)
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        for failure in failures:
            if self._made:
                _log.warning("a machine less than was ordered: %s", failure)
        if not self._made:
            if not failures:
                raise Unavailable(f"no machine was asked for from {self._session.settings.name}")
            raise most_telling(failures)
        return sorted(self._made.values(), key=lambda each: each.node)

    async def _one(self, node: int) -> None:
        async with self._turn:
            if self.stopped:
                return
            order = await self._session.order(self._request, node)
            try:
                machine = await self._session._create(order)
            except _REFUSALS:
                self.stopped = True
                raise
            except ProviderError:
                raise
            except Exception:
                await self._remove_by_label(order)  # a mistake of the vendor's package, before or after the effect
                raise
            self._keep(machine, order)
            try:
                self._made[machine.id] = self._keep(await self._session._complete(order, machine), order)
            except BaseException:
                del self._made[machine.id]
                await self._remove([machine.id])
                raise

    def _keep(self, machine: Instance, order: Order) -> Instance:
        label = order.label
        machine = evolve(
            machine,
            node=order.node,
            offer=machine.offer or order.offer,
            pool_id=label.pool_id,
            owner=label.owner,
            client=label.client,
            deadline=label.deadline,
        )
        self._session.note(machine, order)
        self._made[machine.id] = machine
        return machine

    async def undo(self) -> None:
        """Remove what was made, since nobody is there to take it."""
        made, self._made = list(self._made), {}
        await self._remove(made)

    async def _remove(self, names: list[str]) -> None:
        try:
            if names:
                await self._session.terminate(names)
        except ProviderError as error:
            _log.warning("%s of %s may be left: %s", ", ".join(names), self._session.settings.name, error)

    async def _remove_by_label(self, order: Order) -> None:
        try:
            listed = await self._session.list_owned(order.label.pool_id)
        except ProviderError as error:
            _log.warning("whether %s was made is not known: %s", order.label.name, error)
            return
        labels = {each.id: MachineLabel.read(str(each.details.get(LABEL))) for each in listed}
        await self._remove(
            [name for name, each in labels.items() if each is not None and each.mark == order.label.mark]
        )
