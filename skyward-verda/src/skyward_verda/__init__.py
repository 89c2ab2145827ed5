"""Nodes as instances of Verda: ``Verda``, which is ``sky.Verda`` once this package is installed."""

from __future__ import annotations

from skyward_verda._settings import Verda

__all__ = ["Verda"]
