"""Contracts for the authors of plugins.

A plugin is a distribution with one entry point in the group ``skyward`` that points at a light module. The module
implements hooks with :data:`hookimpl`; its classes follow the protocols here.
"""

from __future__ import annotations

from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec, Market
from skyward.spi.hooks import IntegrationDescriptor, ProviderDescriptor, hookimpl
from skyward.spi.provider import Capabilities, LaunchRequest, PoolIdentity, Provider, Session
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Transport, Wire

__all__ = [
    "Capabilities",
    "ComputeSpec",
    "Instance",
    "InstanceState",
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
