"""The contract of an integration: one object that decorates a function, or, given to a pool, every function of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from skyward.function import ComputeFunction

__all__ = ["Integration"]


class Integration(Protocol):
    """Changes how a function is run on a node, for instance by joining a process group around it.

    The same object serves above or below ``@sky.compute`` and in ``plugins=[...]`` of a pool, which applies it to each
    function that it dispatches. Applying it must be cheap, import no framework, and give a function that pickles.
    """

    def __call__(self, function: ComputeFunction[..., Any], /) -> ComputeFunction[..., Any]:
        """Return a compute function in the place of ``function``; of the same arguments and result."""
        ...
