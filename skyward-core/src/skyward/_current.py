"""The current pool: what ``>> skyward`` and ``@ skyward`` mean where they stand.

It is a context variable: entering a pool sets it, leaving puts back what was there before. A thread that is started
begins without one, and so does everything that runs on a node.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from skyward.errors import UsageError

if TYPE_CHECKING:
    from skyward.computation import PendingBatch, PendingCompute, Target

__all__ = ["broadcast", "current_pool", "enter", "leave", "run", "run_batch"]

_current: ContextVar[Target | None] = ContextVar("skyward_current_pool", default=None)


def current_pool() -> Target | None:
    """The innermost pool that this context has entered, ``None`` if there is none."""
    return _current.get()


def enter(pool: Target) -> Token[Target | None]:
    """Make ``pool`` current; hand the token to ``leave``."""
    return _current.set(pool)


def leave(pool: Target, token: Token[Target | None]) -> None:
    """Put back the pool that was current before ``pool`` was entered.

    A pool may be left from another context than the one that entered it, as generators and test fixtures do. What is
    current there stays, unless it is this pool.
    """
    try:
        _current.reset(token)
    except ValueError:
        if _current.get() is pool:
            _current.set(None)


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
    pool = _current.get()
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
