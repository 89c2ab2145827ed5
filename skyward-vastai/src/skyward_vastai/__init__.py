"""Nodes as instances of Vast.ai: ``VastAI``, which is ``sky.VastAI`` once this package is installed."""

from __future__ import annotations

from skyward_vastai._settings import VastAI

__all__ = ["VastAI"]
