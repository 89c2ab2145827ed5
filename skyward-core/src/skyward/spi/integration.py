"""The contract of an integration: one object that decorates a function, or, given to a pool, every function of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from skyward.model.spec import ComputeSpec

if TYPE_CHECKING:
    from skyward._pool import ComputePool
    from skyward.function import ComputeFunction
    from skyward.model.supplies import Supplies

__all__ = ["Integration", "Supplying", "Surrounding"]


class Integration(Protocol):
    """Changes how a function is run on a node, for instance by joining a process group around it.

    The same object serves above or below ``@sky.compute`` and in ``plugins=[...]`` of a pool, which applies it to each
    function that it dispatches. Applying it must be cheap, import no framework, and give a function that pickles.

    In ``plugins=[...]`` it may do more: see :class:`Supplying` and :class:`Surrounding`. One that does nothing else
    returns the function as it is.
    """

    def __call__(self, function: ComputeFunction[..., Any], /) -> ComputeFunction[..., Any]:
        """Return a compute function in the place of ``function``; of the same arguments and result."""
        ...


@runtime_checkable
class Supplying(Protocol):
    """An integration that needs something on the nodes of the pools that have it in ``plugins=[...]``."""

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """Return what the nodes need.

        Called once for each pool, on a thread of its own and for 30 s at most, before anything is bought. The image of
        ``spec`` is as the hooks of plugins have left it, without what other integrations supply.

        Raises:
            ConfigurationError: the pool cannot work, for instance because its image asks for a version that the client
                does not have. Any other exception is reported as a bug of the integration.
        """
        ...


@runtime_checkable
class Surrounding(Protocol):
    """An integration that changes something on the client while the block of a pool is open."""

    def around(self, pool: ComputePool, /) -> AbstractContextManager[object]:
        """Return a context manager that is entered when the pool is ready, and left before its machines end.

        Both happen on the thread, or in the task, that enters and leaves the pool's block; with several integrations in
        the order of ``plugins=[...]``, and left in reverse order. What is raised on entering ends the pool. On leaving
        it gets the exception that ends the block, if one does, and cannot suppress it; the machines end whatever it
        raises. Inside ``async with`` it is called in the running event loop, and must not wait.
        """
        ...
