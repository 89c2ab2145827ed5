"""Nodes as containers on this machine: ``Container``, which is ``sky.Container`` once this package is installed."""

from __future__ import annotations

from skyward_container._settings import Container

__all__ = ["Container"]
