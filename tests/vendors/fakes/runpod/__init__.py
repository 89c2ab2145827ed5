"""RunPod's API, version 2, as far as nodes need it: pods, the catalogue, network volumes. See README.md."""

from __future__ import annotations

from .server import Fake
from .vendor import RunPodVendor

__all__ = ["Fake", "RunPodVendor"]
