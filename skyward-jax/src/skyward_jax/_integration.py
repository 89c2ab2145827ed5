"""``sky.integrations.jax``: has a function run once in every slot, all of them processes of one ``jax.distributed``.

Nothing here imports jax: a client need not have it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, overload

from attrs import field, frozen

from skyward_jax._judging import is_consequence
from skyward_jax._state import bound_to

if TYPE_CHECKING:
    from skyward import ComputeFunction
    from skyward.spi import ComputeSpec, Supplies

__all__ = ["Jax", "jax", "requirement"]

_LOWEST = "0.10"  # 0.8 and 0.9 leave a port listening when a group has ended
_PRELOAD = ("numpy", "jax", "jax.numpy")
_CUDA = (12, 13)


def _cuda(value: object) -> int:
    if isinstance(value, bool) or value not in _CUDA:
        from skyward import ConfigurationError

        raise ConfigurationError(
            f"cuda={value!r} is no version of CUDA that jax is built for: give {' or '.join(map(str, _CUDA))}"
        )
    return int(str(value))


@frozen
class Jax:
    """Runs a function on all devices of a pool: as its decorator, or for all functions of a pool by ``plugins=[...]``.

    ``f() @ pool`` runs the function once in every slot of the pool (nodes times ``concurrency``), each of them a
    process of one ``jax.distributed``, which is initialised before and shut down after it, and gives one result for
    each process. ``f() >> pool`` is a process by itself. ``f.local()`` runs the function as it is.

    Called without a function it gives another one with these settings.

    Attributes:
        cuda: the version of CUDA of the builds that nodes with GPUs of NVIDIA get: 12 or 13.
    """

    cuda: int = field(default=12, converter=_cuda)

    name: ClassVar = "jax"

    @overload
    def __call__(self, /, *, cuda: int = 12) -> Jax: ...
    @overload
    def __call__[**P, R](self, function: ComputeFunction[P, R], /) -> ComputeFunction[P, R]: ...
    @overload
    def __call__[**P, R](self, function: Callable[P, R], /) -> ComputeFunction[P, R]: ...
    def __call__(self, function: Any = None, /, **settings: Any) -> Any:
        """Return the function as one of a group's; without one, an integration with these settings.

        Raises:
            ConfigurationError: a setting is malformed.
        """
        if function is None:
            return Jax(**settings)
        if settings or not callable(function):
            from skyward import ConfigurationError

            raise ConfigurationError(
                "jax takes its settings by name, and the function in a call of its own: @sky.integrations.jax(cuda=13)"
            )
        from skyward.spi import grouped

        return grouped(
            function, _entered, name=self.name, is_consequence=is_consequence, bound_to=bound_to, forms_group=True
        )

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """What the nodes need: jax for their devices, and to reach each other.

        Raises:
            ConfigurationError: the pool runs more functions on a node than it has GPUs.
        """
        from skyward.spi import Supplies

        return Supplies(pip=(requirement(spec, self.cuda),), preload=_PRELOAD, private_network=True, group=self.name)


def requirement(spec: ComputeSpec, cuda: int = 12) -> str:
    """The requirement of jax for a pool's devices.

    Raises:
        ConfigurationError: the pool runs more functions on a node than it has GPUs.
    """
    accelerator = spec.accelerator
    if accelerator is None or accelerator.vendor.casefold() != "nvidia":
        return f"jax>={_LOWEST}"
    if accelerator.mig is None and spec.concurrency > accelerator.count:
        from skyward import ConfigurationError

        raise ConfigurationError(
            f"jax takes a whole GPU for each process, and concurrency={spec.concurrency} runs more of them on a node "
            f"than its {accelerator.count}: use concurrency={accelerator.count}, or more GPUs (accelerator='NAME:N')"
        )
    return f"jax[cuda{cuda}]>={_LOWEST}"


def _entered() -> AbstractContextManager[None]:
    """On the node: be a process of the group."""
    from skyward_jax._processes import distributed

    return distributed()


jax = Jax()
