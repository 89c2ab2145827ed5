"""``sky.integrations.keras``: has a function run once in every slot, all in one group of Keras' backend.

The group is that of the integration of JAX, PyTorch or TensorFlow. Nothing here imports any of them, nor Keras: a
client need not have them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, overload

from attrs import evolve, field, frozen

from skyward_keras._binding import bound_to
from skyward_keras._checks import backend_of, demand_backend

if TYPE_CHECKING:
    from skyward import ComputeFunction
    from skyward.spi import ComputeSpec, Supplies

__all__ = ["Keras", "keras"]

_KERAS = "keras>=3.12"


@frozen
class Keras:
    """Runs a function with Keras on all devices of a pool: as its decorator, or for all functions by ``plugins=[...]``.

    ``f() @ pool`` runs the function once in every slot of the pool (nodes times ``concurrency``) and gives one result
    for each. Keras is imported with this backend, whose own group is there, as by ``sky.integrations.jax``,
    ``tensorflow`` or ``torch``. On JAX ``keras.distribution.DataParallel`` is set over the devices of all of them, so
    that ``fit`` trains one model on all parts of the data. ``f.local()`` runs the function with the backend alone.

    Called without a function it gives another one with these settings.

    Attributes:
        backend: ``"jax"``, ``"tensorflow"`` or ``"torch"``.
        wheels: with ``backend="torch"``, which builds of torch a pool gets: see ``sky.integrations.torch``.
        cuda: with ``backend="jax"``, the version of CUDA of the builds that nodes with GPUs of NVIDIA get: see
            ``sky.integrations.jax``.
    """

    backend: str = field(default="jax", converter=backend_of)
    wheels: str | None = None
    cuda: int | None = None

    name: ClassVar = "keras"

    def __attrs_post_init__(self) -> None:
        demand_backend(self.backend, wheels=self.wheels, cuda=self.cuda)
        if self.wheels is not None or self.cuda is not None:
            _below(self)  # it refuses what makes no sense

    @overload
    def __call__(self, /, *, backend: str = "jax", wheels: str | None = None, cuda: int | None = None) -> Keras: ...
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
            return Keras(**settings)
        if settings or not callable(function):
            from skyward import ConfigurationError

            raise ConfigurationError(
                "keras takes its settings by name, and the function in a call of its own: "
                "@sky.integrations.keras(backend='jax')"
            )
        return _grouped(function, self)

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """What the nodes need: Keras, and what the integration of its backend says.

        Raises:
            ConfigurationError: as of that integration.
        """
        below: Supplies = _below(self).supplies(spec)
        return evolve(
            below,
            pip=(_KERAS, *below.pip),
            env={**below.env, "KERAS_BACKEND": self.backend},
            preload=(*below.preload, "keras"),
        )


def _below(settings: Keras) -> Any:
    """The integration of the backend, with what is said for it.

    Raises:
        ConfigurationError: as of that integration.
    """
    if settings.backend == "jax":
        from skyward_jax import jax

        return jax if settings.cuda is None else jax(cuda=settings.cuda)
    if settings.backend == "torch":
        from skyward_torch import torch

        return torch if settings.wheels is None else torch(wheels=settings.wheels)
    from skyward_tensorflow import tensorflow

    return tensorflow


def _grouped(function: Any, settings: Keras) -> ComputeFunction[..., Any]:
    from skyward import compute
    from skyward.spi import grouped

    function = compute(function)
    backend = settings.backend
    made: ComputeFunction[..., Any] = grouped(
        function,
        functools.partial(_entered, backend),
        name="keras",
        bound_to=functools.partial(bound_to, backend),
        inside=backend,
    )
    if made is not function:  # else it has a backend already: that of a setting nearer to the function
        made = _below(settings)(made)
    return made


def _entered(backend: str) -> AbstractContextManager[None]:
    from skyward_keras._session import session

    return session(backend)


keras = Keras()
