"""Vendors of machines for tests: their APIs over HTTP, and containers for what they sell. See README.md."""

from __future__ import annotations

from .faults import Faults
from .schema import Schema
from .server import Refusal, Reply, Request, Seen, VendorServer, route

__all__ = ["Faults", "Refusal", "Reply", "Request", "Schema", "Seen", "VendorServer", "route"]
