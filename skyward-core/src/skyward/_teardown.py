"""Ending machines: shielded from cancellation, tried again, and proven."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from skyward.errors import ProvisioningError
from skyward.model.events import Error, InstanceStopping
from skyward.model.instance import InstanceState

if TYPE_CHECKING:
    from skyward._events import EventBus
    from skyward._market import Market
    from skyward.model.instance import Instance
    from skyward.spi.provider import Session

__all__ = ["destroy", "shielded", "terminate"]

_log = logging.getLogger("skyward.teardown")


async def shielded[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end whatever is cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except BaseException:  # noqa: BLE001  raised by result() below
            break
    if cancelled is not None and not task.cancelled() and task.exception() is None:
        raise cancelled
    return task.result()


class _StillThere(Exception):
    """A machine that was ended is still listed."""


async def terminate(session: Session, ids: Sequence[str]) -> None:
    """End machines and wait until the provider says that they are gone.

    Raises:
        ProvisioningError: they are still there after several tries.
    """
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(Exception),
        stop=stop_after_attempt(8),
        wait=wait_exponential(multiplier=0.05, max=10),
        reraise=True,
    ):
        with attempt:
            await session.terminate(ids)
            known = await session.describe(ids)
            left = [name for name, found in known.items() if found.state is not InstanceState.GONE]
            if left:
                raise _StillThere(", ".join(left))


async def destroy(
    market: Market | None,
    launched: dict[str, tuple[Session, Instance]],
    events: EventBus,
    forget: Callable[[str], None],
) -> None:
    """End every machine of a pool, all at once, and close its sessions.

    Raises:
        ProvisioningError: naming each machine that may still run.
    """
    by_session: dict[int, tuple[Session, list[str]]] = {}
    for instance_id, (session, _) in launched.items():
        events.emit(InstanceStopping(instance_id))
        by_session.setdefault(id(session), (session, []))[1].append(instance_id)
    failures: list[str] = []

    async def end(session: Session, ids: list[str]) -> None:
        try:
            await terminate(session, ids)
        except Exception as error:
            _log.exception("machines could not be ended")
            failures.append(f"{', '.join(ids)} ({error})")
            return
        for instance_id in ids:
            forget(instance_id)

    await asyncio.gather(*(end(session, ids) for session, ids in by_session.values()))
    for session in [] if market is None else market.sessions:
        try:
            await session.close()
        except Exception:
            _log.exception("a provider's session could not be closed")
    if failures:
        message = f"these machines may still run and cost money: {'; '.join(failures)}; end them at the provider"
        events.emit(Error(message))
        raise ProvisioningError(message)
