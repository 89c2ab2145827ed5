"""PyTorch's process groups across the slots of a Skyward pool: ``sky.integrations.torch``."""

from __future__ import annotations

from skyward_torch._integration import Torch, torch

__all__ = ["Torch", "torch"]
