"""``sky.integrations.transformers``: has a function run once in every slot, so that its ``Trainer`` sees the others.

Underneath is torch's process group, and so skyward-torch. Nothing here imports a framework: a client need have none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, overload

from attrs import evolve, field, frozen

from skyward_torch import Torch

if TYPE_CHECKING:
    from skyward import ComputeFunction
    from skyward.spi import ComputeSpec, Supplies

__all__ = ["Transformers", "transformers"]

_PACKAGES = ("transformers>=4.46", "accelerate>=1.1")
_PRELOAD = ("accelerate", "transformers.trainer")


@frozen
class Transformers:
    """Runs a function in a process group that ``transformers.Trainer`` sees: as its decorator, or for a whole pool.

    ``f() @ pool`` runs the function once in every slot of the pool (nodes times ``concurrency``), in torch's process
    group; a ``Trainer`` in it trains on all of them. It gives one result for each rank. ``f() >> pool`` is a group of
    one. ``f.local()`` runs the function without any group. A function that has this decorator already is returned as it
    is, and one that has torch's keeps its settings: those that stand nearer to it hold.

    Called without a function it gives another one with these settings.

    Attributes:
        group: the process group's settings. Users give them one by one, as for ``sky.integrations.torch``:
            ``backend`` (``"nccl"`` for GPUs, ``"gloo"`` for CPUs), ``timeout`` (seconds) and ``wheels``.
    """

    group: Torch = field(factory=Torch)

    name: ClassVar = "transformers"

    @overload
    def __call__(
        self, /, *, backend: str | None = None, timeout: float | None = None, wheels: str | None = None
    ) -> Transformers: ...
    @overload
    def __call__[**P, R](self, function: ComputeFunction[P, R], /) -> ComputeFunction[P, R]: ...
    @overload
    def __call__[**P, R](self, function: Callable[P, R], /) -> ComputeFunction[P, R]: ...
    def __call__(self, function: Any = None, /, **settings: Any) -> Any:
        """Return the function as one that runs in a process group; without one, an integration with these settings.

        Raises:
            ConfigurationError: a setting is malformed.
        """
        if function is None:
            return Transformers(Torch(**settings))
        if settings or not callable(function):
            from skyward import ConfigurationError

            raise ConfigurationError(
                "transformers takes its settings by name, and the function in a call of its own: "
                "@sky.integrations.transformers(backend='gloo')"
            )
        from skyward.spi import grouped

        # Inside of the process group, since accelerate looks for it; what is missing is told before that is formed.
        trained = grouped(function, _trained, name=self.name, inside=self.group.name)
        return grouped(self.group(trained), _demanded, name=f"{self.name} on the node")

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """What torch's integration supplies, with transformers and accelerate.

        Raises:
            ConfigurationError: nccl is asked for, and the pool asks for fewer GPUs than it runs functions.
        """
        torch = self.group.supplies(spec)
        return evolve(torch, pip=(*torch.pip, *_PACKAGES), preload=(*torch.preload, *_PRELOAD))


def _trained() -> AbstractContextManager[None]:
    """On the node: let the Trainer see the group."""
    from skyward_transformers._trainer_state import trainer_state

    return trainer_state()


def _demanded() -> AbstractContextManager[None]:
    """On the node: have what is needed."""
    from skyward_transformers._trainer_state import demanded

    return demanded()


transformers = Transformers()
