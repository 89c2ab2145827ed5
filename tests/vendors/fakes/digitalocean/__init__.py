"""DigitalOcean's API, version 2, as far as nodes need it: droplets, keys, tags, sizes. See README.md."""

from __future__ import annotations

from .server import DigitalOceanServer
from .vendor import DigitalOceanVendor

__all__ = ["DigitalOceanServer", "DigitalOceanVendor", "Fake"]

Fake = DigitalOceanServer
"""What the fixtures make."""
