"""Verda's API as its own clients know it: tokens, a catalogue, instances, volumes, keys, scripts. See README.md."""

from __future__ import annotations

from .server import Fake
from .vendor import VerdaVendor

__all__ = ["Fake", "VerdaVendor"]
