"""Hugging Face's Trainer across the slots of a Skyward pool: ``sky.integrations.transformers``."""

from __future__ import annotations

from skyward_transformers._integration import Transformers, transformers

__all__ = ["Transformers", "transformers"]
