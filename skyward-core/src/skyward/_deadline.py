"""The moment at which a pool's machines end themselves, and moving it.

It is told in two places: by the tags, from which other clients conclude that a machine is left over, and by the
machines, which act on it. At no moment may a machine live longer than its tag says, or somebody else could end it while
it is in use. So the tags go first where the moment is put off, and last where it is brought forward.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from skyward import _clock
from skyward._asking import all_of, ask, persistently
from skyward.errors import ProviderError, ProvisioningError, SkywardError

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._fleet import Fleet, Machine
    from skyward._market import Seller
    from skyward._node import Node

__all__ = ["Deadline"]

_log = logging.getLogger("skyward.road")

_ASK_LIMIT = 30.0
_PATIENCE = 30.0
"""Seconds for which a provider is asked again to move the tags of its machines."""


class Deadline:
    """The deadline of one pool. All of it runs on the pool's event loop.

    Args:
        fleet: the machines whose tags are to be moved.
        dispatcher: the nodes that are to be told.
        note: called with each new deadline once it holds.

    Attributes:
        at: seconds since the epoch; ``None`` for none.
    """

    def __init__(self, fleet: Fleet, dispatcher: Dispatcher, note: Callable[[float], None]) -> None:
        self.at: float | None = None
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._note = note
        self._turn = asyncio.Lock()
        self._moved = False

    async def move(self, deadline: float, sellers: Iterable[Seller]) -> None:
        """Move it, for the machines that there are and for those to come.

        Raises:
            ProvisioningError: a provider cannot move the tags, so the deadline stays where it was.
        """
        async with self._turn:
            self._moved = True
            sooner = self.at is None or deadline < self.at
            if sooner:
                self._tell(deadline)
            failures = [said for said in await all_of(self._tag(seller, deadline) for seller in sellers) if said]
            if sooner and failures:  # they say too late a moment, at which the machines are long gone
                _log.warning("the new deadline is told to the machines, and not by their tags: %s", "; ".join(failures))
            elif failures:
                assert self.at is not None
                raise ProvisioningError(
                    f"the deadline cannot be put off: {'; '.join(failures)}; all machines of this pool still end "
                    f"themselves at {time.strftime('%H:%M:%S', time.localtime(self.at))}, so call pool.extend() again "
                    "before that"
                )
            elif not sooner:
                self._tell(deadline)

    def _tell(self, deadline: float) -> None:
        self.at = deadline
        self._note(deadline)
        left = deadline - _clock.current().time()
        for node in list(self._dispatcher.nodes.values()):
            node.extend(left)

    async def _tag(self, seller: Seller, deadline: float) -> str:
        """Move the tags at one provider; what went wrong, in words. One without machines need not answer."""
        ids = [machine.instance.id for machine in self._fleet.machines if machine.seller is seller]
        try:
            await _extend(seller, ids, deadline)
        except SkywardError as error:
            if ids:
                return f"{', '.join(ids)} of {seller.provider.name} ({error})"
            _log.warning("%s was not told of the new deadline: %s", seller.provider.name, error)
        return ""

    async def catch_up(self, machine: Machine, node: Node) -> None:
        """Have a machine that was bought meanwhile, perhaps with an earlier deadline, follow the one that holds.

        Raises:
            SkywardError: its provider cannot move its tag.
        """
        if not self._moved:
            return
        async with self._turn:
            assert self.at is not None
            await _extend(machine.seller, [machine.instance.id], self.at)
            node.extend(self.at - _clock.current().time())


async def _extend(seller: Seller, ids: list[str], deadline: float) -> None:
    async def moved() -> None:
        await seller.session.extend(ids, deadline)

    await persistently(
        lambda: ask(seller.provider, "extend", moved(), _ASK_LIMIT), on=ProviderError, patience=_PATIENCE, first=0.2
    )
