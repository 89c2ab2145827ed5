"""Contracts for the authors of plugins.

A plugin is a distribution with one entry point in the group ``skyward`` that points at a light module. The module
implements hooks with :data:`hookimpl`; its classes follow the protocols here. docs/plugins.md is the guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec, Market
from skyward.spi.integration import Integration, Supplying, Surrounding
from skyward.spi.provider import (
    Belongings,
    Capabilities,
    Checkable,
    Finding,
    Forewarned,
    LaunchRequest,
    PoolIdentity,
    Provider,
    Session,
)
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Transport, Watcher, Wire

if TYPE_CHECKING:
    from skyward._cache import building, cache_folder
    from skyward._client import client_lives
    from skyward._concurrency import shielded, together
    from skyward._grouped import grouped
    from skyward._options import ProviderLike
    from skyward._parameters import PoolParameters
    from skyward._rest import (
        Answer,
        Authorize,
        Explain,
        MachineLabel,
        Order,
        Pace,
        RestClient,
        RestSession,
        bearer,
    )
    from skyward._sharing import Sharing
    from skyward._ssh import SshTransport, new_key_pair
    from skyward._surroundings import Surroundings, client_surroundings, is_this_machine
    from skyward.model.bootstrap import Step
    from skyward.model.first_boot import NODE_FOLDER, first_boot_script
    from skyward.model.ssh import KeyPair, SshAddress, SshProxy
    from skyward.model.supplies import Supplies
    from skyward.model.volumes import Mount, S3Credentials
    from skyward.spi.allocation import AllocationStrategy, Candidate, Tranche
    from skyward.spi.hooks import (
        AllocationDescriptor,
        IntegrationDescriptor,
        ProviderDescriptor,
        SelectorDescriptor,
        hookimpl,
    )
    from skyward.spi.offering import cheapest_first, meets
    from skyward.spi.selector import ProviderView, Selector
    from skyward.spi.settings import is_number, is_text, is_truth
    from skyward.worker.framework import (
        any_cause,
        environ_with,
        interface_of,
        listening_variables,
        not_on_this_node,
        uninterrupted,
    )
    from skyward.worker.group import Group, Member, current_group
else:
    # What pools without plugins have no use for; pluggy alone costs as much to import as the rest of a pool's start,
    # and what `skyward._ssh` and `skyward._rest` ask for, with the remedy where it is missing, costs ten times that.
    _LATER = {
        "skyward._concurrency": ("shielded", "together"),
        "skyward._cache": ("building", "cache_folder"),
        "skyward._client": ("client_lives",),
        "skyward._grouped": ("grouped",),
        "skyward._options": ("ProviderLike",),
        "skyward._parameters": ("PoolParameters",),
        "skyward._rest": (
            "Answer",
            "Authorize",
            "Explain",
            "MachineLabel",
            "Order",
            "Pace",
            "RestClient",
            "RestSession",
            "bearer",
        ),
        "skyward._sharing": ("Sharing",),
        "skyward._ssh": ("SshTransport", "new_key_pair"),
        "skyward._surroundings": ("Surroundings", "client_surroundings", "is_this_machine"),
        "skyward.model.bootstrap": ("Step",),
        "skyward.model.first_boot": ("NODE_FOLDER", "first_boot_script"),
        "skyward.model.ssh": ("KeyPair", "SshAddress", "SshProxy"),
        "skyward.model.supplies": ("Supplies",),
        "skyward.model.volumes": ("Mount", "S3Credentials"),
        "skyward.spi.allocation": ("AllocationStrategy", "Candidate", "Tranche"),
        "skyward.spi.hooks": (
            "AllocationDescriptor",
            "IntegrationDescriptor",
            "ProviderDescriptor",
            "SelectorDescriptor",
            "hookimpl",
        ),
        "skyward.spi.offering": ("cheapest_first", "meets"),
        "skyward.spi.selector": ("ProviderView", "Selector"),
        "skyward.spi.settings": ("is_number", "is_text", "is_truth"),
        "skyward.worker.framework": (
            "any_cause",
            "environ_with",
            "interface_of",
            "listening_variables",
            "not_on_this_node",
            "uninterrupted",
        ),
        "skyward.worker.group": ("Group", "Member", "current_group"),
    }

    def __getattr__(name):
        from importlib import import_module

        for module, names in _LATER.items():
            if name in names:
                return getattr(import_module(module), name)
        raise AttributeError(f"module 'skyward.spi' has no attribute {name!r}")


__all__ = [
    "NODE_FOLDER",
    "AllocationDescriptor",
    "AllocationStrategy",
    "Answer",
    "Authorize",
    "Belongings",
    "Candidate",
    "Capabilities",
    "Checkable",
    "ComputeSpec",
    "Explain",
    "Finding",
    "Forewarned",
    "Group",
    "Instance",
    "InstanceState",
    "Integration",
    "IntegrationDescriptor",
    "Interpreter",
    "KeyPair",
    "LaunchRequest",
    "Link",
    "MachineLabel",
    "Market",
    "Member",
    "Mount",
    "Offer",
    "Order",
    "Pace",
    "PhaseReport",
    "PoolIdentity",
    "PoolParameters",
    "Provider",
    "ProviderDescriptor",
    "ProviderLike",
    "ProviderView",
    "Receiver",
    "RestClient",
    "RestSession",
    "S3Credentials",
    "Selector",
    "SelectorDescriptor",
    "Session",
    "Sharing",
    "SshAddress",
    "SshProxy",
    "SshTransport",
    "Step",
    "Supplies",
    "Supplying",
    "Surrounding",
    "Surroundings",
    "Tranche",
    "Transport",
    "Watcher",
    "Wire",
    "any_cause",
    "bearer",
    "building",
    "cache_folder",
    "cheapest_first",
    "client_lives",
    "client_surroundings",
    "current_group",
    "environ_with",
    "first_boot_script",
    "grouped",
    "hookimpl",
    "interface_of",
    "is_number",
    "is_text",
    "is_this_machine",
    "is_truth",
    "listening_variables",
    "meets",
    "new_key_pair",
    "not_on_this_node",
    "shielded",
    "together",
    "uninterrupted",
]


def __dir__() -> list[str]:
    return __all__
