"""``sky.integrations.torch``: has a function run once in every slot, all in one process group of PyTorch.

Nothing here imports torch: a client need not have it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, overload

from attrs import field, frozen

from skyward_torch._binding import bound_to
from skyward_torch._checks import backend_of, demand_gpus, seconds_of, wheels_for, wheels_of
from skyward_torch._judging import is_consequence

if TYPE_CHECKING:
    from skyward import ComputeFunction
    from skyward.spi import ComputeSpec, Supplies

__all__ = ["Torch", "torch"]

_TORCH = "torch>=2.5"  # the oldest that was tried
_PRELOAD = ("numpy", "torch", "torch.distributed")


@frozen
class Torch:
    """Runs a function in a process group: as its decorator, or for all functions of a pool by ``plugins=[...]``.

    ``f() @ pool`` runs the function once in every slot of the pool (nodes times ``concurrency``), with
    ``torch.distributed`` initialised before and destroyed after it, and gives one result for each rank. ``f() >> pool``
    is a group of one. ``f.local()`` runs the function without any group. A function that has this decorator already is
    returned as it is: the settings that stand nearer to it hold.

    Called without a function it gives another one with these settings.

    Attributes:
        backend: ``"nccl"`` for GPUs or ``"gloo"`` for CPUs; by default what the nodes have.
        timeout: seconds that a collective operation may take; by default torch's own, 10 minutes for nccl and 30
            for gloo.
        wheels: which builds of torch a pool gets, as uv calls them: ``"cpu"``, ``"cu128"``, ``"rocm6.3"``, ..., or
            ``"auto"`` for what suits each node; all of these are of PyTorch's own index. ``"pypi"`` uses no other index
            than the image does. By default ``"pypi"`` where the pool asks for GPUs of NVIDIA, whose builds are there,
            or where the image names an index; else ``"auto"``, which is ``"cpu"`` on nodes without GPUs.
    """

    backend: str | None = field(default=None, converter=backend_of)
    timeout: float | None = field(default=None, converter=seconds_of)
    wheels: str | None = field(default=None, converter=wheels_of)

    name: ClassVar = "torch"

    @overload
    def __call__(
        self, /, *, backend: str | None = None, timeout: float | None = None, wheels: str | None = None
    ) -> Torch: ...
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
            return Torch(**settings)
        if settings or not callable(function):
            from skyward import ConfigurationError

            raise ConfigurationError(
                "torch takes its settings by name, and the function in a call of its own: "
                "@sky.integrations.torch(backend='gloo')"
            )
        from skyward.spi import grouped

        return grouped(
            function,
            functools.partial(_entered, self, getattr(function, "__name__", "the function")),
            name=self.name,
            is_consequence=is_consequence,
            bound_to=bound_to,
            forms_group=True,
        )

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """What the nodes need: torch and NumPy, and to reach each other.

        Raises:
            ConfigurationError: nccl is asked for, and the pool asks for fewer GPUs than it runs functions.
        """
        from skyward.spi import Supplies

        if self.backend == "nccl":
            demand_gpus(spec)
        wheels = self.wheels or wheels_for(spec)
        return Supplies(
            pip=(_TORCH, "numpy"),
            env={} if wheels == "pypi" else {"UV_TORCH_BACKEND": wheels},
            preload=_PRELOAD,
            private_network=True,
            group=self.name,
        )


def _entered(settings: Torch, name: str) -> AbstractContextManager[None]:
    """On the node: be in the process group."""
    from skyward_torch._process_group import process_group

    return process_group(settings.backend, settings.timeout, name)


torch = Torch()
