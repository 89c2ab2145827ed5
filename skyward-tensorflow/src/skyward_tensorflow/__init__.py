"""TensorFlow's multi-worker strategies across the slots of a Skyward pool: ``sky.integrations.tensorflow``."""

from __future__ import annotations

from skyward_tensorflow._integration import TensorFlow, tensorflow

__all__ = ["TensorFlow", "tensorflow"]
