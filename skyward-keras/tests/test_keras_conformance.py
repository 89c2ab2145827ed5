"""The integration keeps the rules of integrations, on nodes that have Keras and JAX."""

from __future__ import annotations

from frameworks import FrameworkConformance

from skyward_keras import keras


class TestKeras(FrameworkConformance):
    plugin = keras(backend="jax")
