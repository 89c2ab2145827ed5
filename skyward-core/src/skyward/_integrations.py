"""``sky.integrations`` (also ``sky.plugins``): what the installed plugins bring for frameworks, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyward_sklearn import JoblibPool, ScikitLearnPool, joblib, joblib_backend, sklearn, sklearn_backend

    __all__ = ["JoblibPool", "ScikitLearnPool", "joblib", "joblib_backend", "sklearn", "sklearn_backend"]
else:

    def __getattr__(name):
        if name.startswith("_"):
            raise AttributeError(f"module 'skyward.integrations' has no attribute {name!r}")
        from skyward import _plugins

        value = globals()[name] = _plugins.integration(name)
        return value


def __dir__() -> list[str]:
    from skyward import _plugins

    return _plugins.integration_names()
