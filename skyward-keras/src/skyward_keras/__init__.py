"""Keras across the slots of a Skyward pool, on JAX, PyTorch or TensorFlow: ``sky.integrations.keras``."""

from __future__ import annotations

from skyward_keras._integration import Keras, keras

__all__ = ["Keras", "keras"]
