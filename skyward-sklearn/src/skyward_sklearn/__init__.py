"""Skyward's pools as a backend of joblib, and so of scikit-learn.

Each name is also ``sky.integrations.<name>``, and imported when it is first used: a slot that runs a batch imports
what it needs of this package, and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyward_sklearn._integrations import joblib, sklearn, sklearn_backend
    from skyward_sklearn._pools import JoblibPool, ScikitLearnPool
    from skyward_sklearn._registration import joblib_backend
else:
    _PLACES = {
        "JoblibPool": "_pools",
        "ScikitLearnPool": "_pools",
        "joblib": "_integrations",
        "joblib_backend": "_registration",
        "sklearn": "_integrations",
        "sklearn_backend": "_integrations",
    }

    def __getattr__(name):
        from importlib import import_module

        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        return value


__all__ = ["JoblibPool", "ScikitLearnPool", "joblib", "joblib_backend", "sklearn", "sklearn_backend"]


def __dir__() -> list[str]:
    return __all__
