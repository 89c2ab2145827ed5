"""Nodes as droplets of DigitalOcean: ``DigitalOcean``, which is ``sky.DigitalOcean`` once this package is installed."""

from __future__ import annotations

from skyward_digitalocean._settings import DigitalOcean

__all__ = ["DigitalOcean"]
