"""``sky.integrations.joblib`` and ``sklearn``: what makes a pool joblib's backend for the time of its block."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, overload

from attrs import frozen

from skyward_sklearn._versions import DISTRIBUTIONS

if TYPE_CHECKING:
    from skyward import ComputeFunction, ComputePool
    from skyward.spi import ComputeSpec, Supplies

__all__ = ["Joblib", "Sklearn", "joblib", "sklearn", "sklearn_backend"]

_THREADPOOLCTL = "threadpoolctl>=3.5"  # as this package's own pyproject.toml has it; a node does not install that one


@frozen
class Joblib:
    """Makes a pool joblib's backend inside its block: ``plugins=[sky.integrations.joblib()]``.

    Called without a function it gives another one of its kind, so that it may stand in ``plugins=[...]`` with or
    without parentheses. Functions are left as they are: as a decorator it does nothing.

    Attributes:
        joblib_version: the version that the nodes get; default, and only possibility: the client's.
    """

    joblib_version: str | None = None

    name: ClassVar = "joblib"

    @overload
    def __call__(self, /, *, joblib_version: str | None = None) -> Joblib: ...
    @overload
    def __call__[**P, R](self, function: ComputeFunction[P, R], /) -> ComputeFunction[P, R]: ...
    @overload
    def __call__[**P, R](self, function: Callable[P, R], /) -> ComputeFunction[P, R]: ...
    def __call__(self, function: Any = None, /, *, joblib_version: str | None = None) -> Any:
        """Return ``function`` as a compute function; without one, an integration with this version.

        Raises:
            ConfigurationError: the client has another version.
        """
        if function is not None:
            return _untouched("joblib", "joblib_version", function)
        made = Joblib(joblib_version)
        made.check()
        return made

    def check(self) -> None:
        """Refuse versions that the client does not have; raises ``ConfigurationError``."""
        from skyward_sklearn._pins import check_parameter

        check_parameter("joblib_version", "joblib", self.joblib_version)

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """The client's joblib, and what else it has imported of what is pickled.

        Raises:
            ConfigurationError: the image asks for another version of one of them.
        """
        self.check()
        return _supplies(spec, [module for module in DISTRIBUTIONS if module == "joblib" or module in sys.modules])

    def around(self, pool: ComputePool, /) -> AbstractContextManager[object]:
        """In the pool's block, ``Parallel`` runs on the pool."""
        from skyward_sklearn._registration import joblib_backend

        return joblib_backend(pool)


@frozen
class Sklearn:
    """Makes a pool the backend of scikit-learn inside its block: ``plugins=[sky.integrations.sklearn()]``.

    Like :class:`Joblib`, and the nodes have scikit-learn, NumPy and SciPy even where the client has not imported them
    yet.

    Attributes:
        sklearn_version: the version that the nodes get; default, and only possibility: the client's.
    """

    sklearn_version: str | None = None

    name: ClassVar = "sklearn"

    @overload
    def __call__(self, /, *, sklearn_version: str | None = None) -> Sklearn: ...
    @overload
    def __call__[**P, R](self, function: ComputeFunction[P, R], /) -> ComputeFunction[P, R]: ...
    @overload
    def __call__[**P, R](self, function: Callable[P, R], /) -> ComputeFunction[P, R]: ...
    def __call__(self, function: Any = None, /, *, sklearn_version: str | None = None) -> Any:
        """Return ``function`` as a compute function; without one, an integration with this version.

        Raises:
            ConfigurationError: the client has another version, or none.
        """
        if function is not None:
            return _untouched("sklearn", "sklearn_version", function)
        made = Sklearn(sklearn_version)
        made.check()
        return made

    def check(self) -> None:
        """Refuse versions that the client does not have, and clients without any; raises ``ConfigurationError``."""
        from skyward_sklearn._pins import check_parameter

        _demand_sklearn()
        check_parameter("sklearn_version", "scikit-learn", self.sklearn_version)

    def supplies(self, spec: ComputeSpec, /) -> Supplies:
        """The client's scikit-learn with what it stands on.

        Raises:
            ConfigurationError: the image asks for another version of one of them, or the client has none.
        """
        self.check()
        return _supplies(spec, DISTRIBUTIONS)

    def around(self, pool: ComputePool, /) -> AbstractContextManager[object]:
        """In the pool's block, what takes ``n_jobs`` runs on the pool."""
        return sklearn_backend(pool)


joblib = Joblib()
sklearn = Sklearn()


def sklearn_backend(pool: ComputePool) -> AbstractContextManager[ComputePool]:
    """Run what scikit-learn does in parallel on a pool that is open: what takes ``n_jobs``, with ``n_jobs=-1``.

    The same as ``joblib_backend(pool)``, on which scikit-learn stands.

    Raises:
        ConfigurationError: the client has no scikit-learn.
    """
    from skyward_sklearn._registration import joblib_backend

    _demand_sklearn()
    return joblib_backend(pool)


def _untouched(name: str, version: str, function: Any) -> ComputeFunction[..., Any]:
    from skyward import ConfigurationError, compute

    if isinstance(function, str):
        raise ConfigurationError(f"{name} takes its version by name: write {name}({version}={function!r})")
    applied: ComputeFunction[..., Any] = compute(function)
    return applied


def _demand_sklearn() -> None:
    from skyward_sklearn._pins import installed

    if installed("scikit-learn") is None:
        from skyward import ConfigurationError

        raise ConfigurationError(
            "scikit-learn is not installed on this client, and the nodes get the version that the client has: "
            "pip install scikit-learn"
        )


def _supplies(spec: ComputeSpec, modules: Collection[str]) -> Supplies:
    from skyward.spi import Supplies
    from skyward_sklearn import _preload
    from skyward_sklearn._pins import check_image, pins

    check_image(spec.image.pip)
    needed = [DISTRIBUTIONS[module] for module in modules]
    preload = _preload.modules(modules)
    return Supplies(pip=(*pins(needed), _THREADPOOLCTL), preload=preload)
