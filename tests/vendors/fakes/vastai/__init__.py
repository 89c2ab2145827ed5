"""Vast.ai as the tests have it: a market of machines that others rent out, by bid and on demand."""

from __future__ import annotations

from .instances import Instance
from .market import Ask, Market
from .server import KEY, VastAIServer, throttled
from .vendor import VastAIVendor

Fake = VastAIServer

__all__ = ["KEY", "Ask", "Fake", "Instance", "Market", "VastAIServer", "VastAIVendor", "throttled"]
