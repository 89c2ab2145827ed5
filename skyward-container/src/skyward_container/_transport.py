"""The road to a container: SSH, and the engine's word for it when there is nobody any more to talk to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from skyward._ssh import SshTransport
from skyward.errors import BootstrapError, NodeLost, ProviderError
from skyward.model.image import Image
from skyward.spi import Interpreter, Link, PhaseReport, Receiver, Step

__all__ = ["ContainerTransport"]

_LOOK_EVERY = 2.0


class ContainerTransport(SshTransport):
    """`SshTransport`, which would go on trying to reach a port behind which nothing is: the lease through, and longer
    at the beginning.

    Args:
        ended: asks the engine whether the container has ended.
        name: as of `SshTransport`, with all the others.
    """

    def __init__(self, ended: Callable[[], Awaitable[bool]], name: str, *others: Any, **options: Any) -> None:
        super().__init__(name, *others, **options)
        self._ended = ended
        self._lost = f"the container of {name} has ended: its engine's log may say why"

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        """Make it ready, for as long as it runs."""
        work = asyncio.ensure_future(super().bootstrap(image, report, steps))
        try:
            while not (await asyncio.wait([work], timeout=_LOOK_EVERY))[0]:
                if await self._has_ended():
                    raise BootstrapError(self._lost, phase="connect")
            return work.result()
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work

    async def open(self, name: str, receiver: Receiver, /) -> Link:
        """Open a link; `NodeLost` when there is no container any more."""
        try:
            return await super().open(name, receiver)
        except ConnectionError as error:
            if await self._has_ended():
                raise NodeLost(self._lost) from error
            raise

    async def _has_ended(self) -> bool:
        try:
            return await self._ended()
        except ProviderError:  # the engine does not answer: nobody knows
            return False
