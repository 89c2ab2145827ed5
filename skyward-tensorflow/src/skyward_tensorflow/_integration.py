"""``sky.integrations.tensorflow``: has a function run once in every slot, each a worker of one TensorFlow cluster.

Nothing here imports TensorFlow: a client need not have it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, overload

from attrs import frozen

from skyward_tensorflow._cluster import bound_to
from skyward_tensorflow._judging import is_consequence

if TYPE_CHECKING:
    from skyward import ComputeFunction
    from skyward.spi import ComputeSpec, Supplies

__all__ = ["TensorFlow", "tensorflow"]

_LEAST = "2.20"  # the first for all versions of Python that Skyward is for


@frozen
class TensorFlow:
    """Runs a function as a worker of a cluster: as its decorator, or for all functions of a pool by ``plugins=[...]``.

    ``f() @ pool`` runs the function once in every slot of the pool (nodes times ``concurrency``), with ``TF_CONFIG``
    set, so that ``tf.distribute.MultiWorkerMirroredStrategy()`` finds the others; it gives one result for each rank.
    ``f() >> pool`` is a cluster of one. ``f.local()`` runs the function without any.

    Called without a function it gives another one of its kind.
    """

    name: ClassVar = "tensorflow"

    @overload
    def __call__(self, /) -> TensorFlow: ...
    @overload
    def __call__[**P, R](self, function: ComputeFunction[P, R], /) -> ComputeFunction[P, R]: ...
    @overload
    def __call__[**P, R](self, function: Callable[P, R], /) -> ComputeFunction[P, R]: ...
    def __call__(self, function: Any = None, /) -> Any:
        """Return the function as one that runs as a worker; without one, an integration."""
        if function is None:
            return TensorFlow()
        if not callable(function):
            from skyward import ConfigurationError

            raise ConfigurationError(f"tensorflow has no settings, and was given {function!r}: leave it out")
        from skyward.spi import grouped

        return grouped(
            function, _entered, name=self.name, is_consequence=is_consequence, bound_to=bound_to, forms_group=True
        )

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """What the nodes need: TensorFlow, with CUDA's libraries where the pool asks for NVIDIA's GPUs.

        Raises:
            ConfigurationError: the pool runs more functions on a node than it has GPUs.
        """
        from skyward.spi import Supplies

        return Supplies(pip=(_requirement(spec),), preload=("tensorflow",), private_network=True, group=self.name)


def _requirement(spec: ComputeSpec) -> str:
    accelerator = spec.accelerator
    if accelerator is None or accelerator.vendor.casefold() != "nvidia":
        return f"tensorflow>={_LEAST}"
    if accelerator.mig is None and spec.concurrency > accelerator.count:
        from skyward import ConfigurationError

        raise ConfigurationError(
            f"TensorFlow takes a whole GPU for each worker, and concurrency={spec.concurrency} runs more of them on a "
            f"node than its {accelerator.count}: use concurrency={accelerator.count}, or more GPUs "
            "(accelerator='NAME:N')"
        )
    return f"tensorflow[and-cuda]>={_LEAST}"


def _entered() -> AbstractContextManager[None]:
    """On the node: be a worker."""
    from skyward_tensorflow._worker import worker

    return worker()


tensorflow = TensorFlow()
