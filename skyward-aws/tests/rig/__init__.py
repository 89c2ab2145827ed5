"""An AWS for tests: moto over HTTP, what it lacks, and instances that one can log in to. See README.md."""

from __future__ import annotations

from .faults import Lag
from .market import KINDS
from .rig import Rig

__all__ = ["KINDS", "Lag", "Rig"]
