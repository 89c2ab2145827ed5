"""The current pool: what ``>> skyward`` and ``@ skyward`` mean where they stand.

It is the innermost of the pools that this context has entered and not left yet, in whatever order they are left. A
thread that is started begins without one, and so does everything that runs on a node.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from skyward.errors import UsageError

if TYPE_CHECKING:
    from skyward.computation import PendingBatch, PendingCompute, Target

__all__ = ["broadcast", "current_pool", "enter", "entered", "leave", "run", "run_batch"]

_entered: ContextVar[tuple[Target, ...]] = ContextVar("skyward_pools", default=())


def current_pool() -> Target | None:
    """The innermost pool that this context has entered, ``None`` if there is none."""
    entered = _entered.get()
    return entered[-1] if entered else None


def entered() -> tuple[Target, ...]:
    """The pools that this context has entered and not left, the innermost last."""
    return _entered.get()


def enter(pool: Target) -> None:
    """Make ``pool`` current; ``leave`` must follow."""
    _entered.set((*_entered.get(), pool))


def leave(pool: Target) -> None:
    """Take ``pool`` away; the one that was entered before it is current again.

    Where another context has entered it, as it may be with generators and test fixtures, nothing changes here.
    """
    entered = _entered.get()
    if pool in entered:
        _entered.set(tuple(other for other in entered if other is not pool))


def run[R](pending: PendingCompute[R], /) -> R:
    """Run ``pending`` on one node of the current pool; ``UsageError`` if there is none."""
    return _require(pending).run(pending)


def run_batch[*Ts](batch: PendingBatch[*Ts], /) -> tuple[*Ts]:
    """Run ``batch`` in parallel on the current pool; ``UsageError`` if there is none."""
    return _require(batch).run_batch(batch)


def broadcast[R](pending: PendingCompute[R], /) -> tuple[R, ...]:
    """Run ``pending`` on every node of the current pool; ``UsageError`` if there is none."""
    return _require(pending).broadcast(pending)


def _require(pending: PendingCompute[Any] | PendingBatch[*tuple[Any, ...]]) -> Target:
    pool = current_pool()
    if pool is not None:
        return pool
    pending.dispatched = True  # refused: it need not warn as well that it was never dispatched
    raise UsageError(_nothing_current())


def _nothing_current() -> str:
    context = sys.modules.get("skyward.worker.context")
    if context is not None and context.current is not None:
        return (
            "no pool is current on a node: a function that runs there cannot dispatch; "
            "call the other function's .local(...), or dispatch it from the client"
        )
    threading = sys.modules.get("threading")
    if threading is not None and threading.current_thread() is not threading.main_thread():
        return (
            "no pool is current in this thread: a new thread starts without one; name the pool, `>> pool`, "
            "or start the thread's work by contextvars.copy_context().run(...)"
        )
    return (
        "no pool is current here: `>> sky` and `@ sky` work within `with sky.ComputePool(...)` and within a function "
        "decorated by @sky.pool; elsewhere name the pool, `>> pool`"
    )
