"""What a plugin may bring beside a provider."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from skyward import Image
from skyward.spi import AllocationDescriptor, Instance, IntegrationDescriptor, SelectorDescriptor, Step, hookimpl
from skyward_acme.integration import acme
from skyward_acme.strategies import Thirds, nearest

__all__ = [
    "skyward_allocations",
    "skyward_bootstrap_steps",
    "skyward_image",
    "skyward_integrations",
    "skyward_on_event",
    "skyward_selectors",
]

events: list[str] = []
"""The classes of the events that this process has seen."""


@hookimpl
def skyward_selectors() -> Iterable[SelectorDescriptor]:
    """``selection="acme-nearest"``."""
    return [SelectorDescriptor(name="acme-nearest", select=nearest)]


@hookimpl
def skyward_allocations() -> Iterable[AllocationDescriptor]:
    """``allocation="acme-thirds"``."""
    return [AllocationDescriptor(name="acme-thirds", strategy=Thirds())]


@hookimpl
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """``sky.integrations.acme``."""
    return [IntegrationDescriptor(name="acme", factory=acme)]


@hookimpl
def skyward_image(image: Image) -> Image:
    """Every node has a variable that says where it is."""
    return evolve(image, env={**image.env, "ACME_BASE": "tranquility"})


@hookimpl
def skyward_bootstrap_steps(instance: Instance) -> Iterable[Step]:
    """What a machine on the moon would need."""
    yield Step("acme-oxygen", f"echo {instance.id} breathes")


@hookimpl
def skyward_on_event(event: object) -> None:
    """Note what happens."""
    events.append(type(event).__name__)
