"""A look at the pools of this process from outside: which are open, what they are, and whether they are in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyward import _current, _engine

if TYPE_CHECKING:
    from skyward._engine import Engine
    from skyward._pool import ComputePool
    from skyward.spi.provider import Provider

__all__ = ["describe", "end", "engine_of", "in_order", "is_busy", "machines", "open_pools", "pool_id", "providers"]


def open_pools() -> list[Engine]:
    """What runs behind each pool that has been entered and not left."""
    return [engine for engine in list(_engine._open) if engine.state in ("being entered", "active")]


def engine_of(pool: ComputePool) -> Engine:
    """What runs behind a pool."""
    return pool._engine


def pool_id(engine: Engine) -> str:
    """The tag of its machines; empty as long as it has none."""
    return "" if engine._made_road is None else engine._made_road.pool_id


def providers(engine: Engine) -> tuple[Provider, ...]:
    """Where its machines come from."""
    return engine._options.providers


def describe(engine: Engine) -> str:
    """A pool in words: which it is, and its machines."""
    sellers = " or ".join(provider.name for provider in providers(engine))
    machines = ", ".join(engine.remaining) or "none yet"
    return (
        f"the pool {pool_id(engine)} of {engine.spec.nodes} node(s) on {sellers}, entered and not left; its machines: "
        f"{machines}"
    )


def end(engine: Engine) -> None:
    """End a pool that was not left; it is not current here any more.

    Raises:
        Exception: as of the end of its block.
    """
    for pool in _current.entered():
        if getattr(pool, "_engine", None) is engine:
            _current.leave(pool)
    if engine.is_active:
        engine.leave()
    else:
        engine.abort()


def is_busy(pool: ComputePool) -> bool:
    """Whether a call of it has not ended yet."""
    return bool(pool._engine.reactor.busy())


def machines(pool: ComputePool) -> set[str]:
    """The vendor's names of its machines; one that was replaced is there no more."""
    return {node.instance.id for node in list(pool._engine.dispatcher.nodes.values())}


def in_order(pool: ComputePool, patience: float) -> bool:
    """Whether all nodes are there and answer within ``patience`` seconds.

    One that is being killed may take calls for a moment, but answers no more.
    """
    if not pool.is_active or pool.instance_count < pool.nodes:
        return False
    pool._engine.reactor.resume()
    return all(node.answers(patience) for node in list(pool._engine.dispatcher.nodes.values()))
