"""``JoblibPool`` and ``ScikitLearnPool``: pools that are joblib's backend as long as their block is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from skyward import ComputePool
from skyward_sklearn._integrations import joblib, sklearn

if TYPE_CHECKING:
    from skyward.spi import Integration, PoolParameters, ProviderLike

__all__ = ["JoblibPool", "ScikitLearnPool"]


class JoblibPool(ComputePool):
    """A pool on which ``joblib.Parallel`` runs inside its block; with ``n_jobs=-1``, on all of its slots.

    Takes the parameters of :class:`skyward.ComputePool`, and is one. ``n_jobs=-1`` means nodes times ``concurrency``.

    Args:
        provider: as of ``ComputePool``.
        joblib_version: the version that the nodes get; default, and only possibility: the client's.
        parameters: as of ``ComputePool``.

    Raises:
        ConfigurationError: as of ``ComputePool``; or the client has another version of joblib.
    """

    def __init__(
        self,
        provider: ProviderLike | None = None,
        *,
        joblib_version: str | None = None,
        **parameters: Unpack[PoolParameters],
    ) -> None:
        parameters["plugins"] = (*_given(parameters), joblib(joblib_version=joblib_version))
        super().__init__(provider, **parameters)


class ScikitLearnPool(ComputePool):
    """A pool on which scikit-learn runs inside its block: searches, cross-validation, forests, with ``n_jobs=-1``.

    Takes the parameters of :class:`skyward.ComputePool`, and is one. ``n_jobs=-1`` means nodes times ``concurrency``.
    The nodes get the client's versions of scikit-learn, joblib, NumPy and SciPy; ``image`` need not name them.

    Args:
        provider: as of ``ComputePool``.
        sklearn_version: the version that the nodes get; default, and only possibility: the client's.
        parameters: as of ``ComputePool``.

    Raises:
        ConfigurationError: as of ``ComputePool``; or the client has another version of scikit-learn, or none.
    """

    def __init__(
        self,
        provider: ProviderLike | None = None,
        *,
        sklearn_version: str | None = None,
        **parameters: Unpack[PoolParameters],
    ) -> None:
        parameters["plugins"] = (*_given(parameters), sklearn(sklearn_version=sklearn_version))
        super().__init__(provider, **parameters)


def _given(parameters: PoolParameters) -> tuple[Integration, ...]:
    """The user's own integrations: a sequence, or one by itself, as ``ComputePool`` takes them."""
    plugins: Any = parameters.get("plugins", ())
    return tuple(plugins) if isinstance(plugins, (list, tuple)) else (plugins,)
