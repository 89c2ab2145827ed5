"""Nodes as machines of Amazon EC2: ``AWS``, which is ``sky.AWS`` once this package is installed."""

from __future__ import annotations

from skyward_aws._settings import AWS

__all__ = ["AWS"]
