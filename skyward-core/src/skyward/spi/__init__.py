"""Contracts for the authors of plugins.

A plugin is a distribution with one entry point in the group ``skyward`` that points at a light module. The module
implements hooks with :data:`hookimpl`; its classes follow the protocols here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec, Market
from skyward.spi.integration import Integration
from skyward.spi.provider import Capabilities, LaunchRequest, PoolIdentity, Provider, Session
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Transport, Wire

if TYPE_CHECKING:
    from skyward.spi.hooks import IntegrationDescriptor, ProviderDescriptor, hookimpl
else:

    def __getattr__(name):
        # pluggy costs as much to import as the rest of a first pool's start, and only plugins need it
        if name in ("IntegrationDescriptor", "ProviderDescriptor", "hookimpl"):
            from skyward.spi import hooks

            return getattr(hooks, name)
        raise AttributeError(f"module 'skyward.spi' has no attribute {name!r}")


__all__ = [
    "Capabilities",
    "ComputeSpec",
    "Instance",
    "InstanceState",
    "Integration",
    "IntegrationDescriptor",
    "Interpreter",
    "LaunchRequest",
    "Link",
    "Market",
    "Offer",
    "PhaseReport",
    "PoolIdentity",
    "Provider",
    "ProviderDescriptor",
    "Receiver",
    "Session",
    "Transport",
    "Wire",
    "hookimpl",
]


def __dir__() -> list[str]:
    return __all__
