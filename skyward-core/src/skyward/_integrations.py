"""``sky.integrations`` (also ``sky.plugins``): what the installed plugins bring for frameworks, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyward_jax import jax
    from skyward_keras import keras
    from skyward_sklearn import JoblibPool, ScikitLearnPool, joblib, joblib_backend, sklearn, sklearn_backend
    from skyward_tensorflow import tensorflow
    from skyward_torch import torch
    from skyward_transformers import transformers

    __all__ = [
        "JoblibPool",
        "ScikitLearnPool",
        "jax",
        "joblib",
        "joblib_backend",
        "keras",
        "sklearn",
        "sklearn_backend",
        "tensorflow",
        "torch",
        "transformers",
    ]
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
