"""JAX across the slots of a Skyward pool: ``sky.integrations.jax``."""

from __future__ import annotations

from skyward_jax._integration import Jax, jax

__all__ = ["Jax", "jax"]
