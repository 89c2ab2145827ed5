"""Machines on the moon: ``from skyward_acme import Acme``."""

from __future__ import annotations

from skyward_acme.integration import acme
from skyward_acme.provider import Acme
from skyward_acme.strategies import Thirds, nearest

__all__ = ["Acme", "Thirds", "acme", "nearest"]
