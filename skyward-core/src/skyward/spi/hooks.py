"""The hooks of a plugin: what it registers, what it changes and sees, and the marker for its implementations.

All are plain functions. A plural noun registers: it is called once, when plugins are loaded, and gives descriptors.
``skyward_image`` and ``skyward_bootstrap_steps`` may change what a pool's nodes become, ``skyward_on_event`` looks on.
An implementation may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pluggy
from attrs import frozen

from skyward.model.allocation import AllocationStrategy
from skyward.model.bootstrap import Step
from skyward.model.events import SkywardEvent
from skyward.model.image import Image
from skyward.model.instance import Instance
from skyward.model.spec import ComputeSpec
from skyward.spi.provider import Opens
from skyward.spi.selector import Selector

__all__ = [
    "AllocationDescriptor",
    "IntegrationDescriptor",
    "ProviderDescriptor",
    "SelectorDescriptor",
    "hookimpl",
    "hookspec",
]

hookspec = pluggy.HookspecMarker("skyward")
hookimpl = pluggy.HookimplMarker("skyward")


@frozen(kw_only=True)
class ProviderDescriptor:
    """A provider that a plugin brings.

    Attributes:
        name: the public name, which users write as ``sky.<name>``.
        settings: the class that ``sky.<name>`` is; calling it gives the provider.
    """

    name: str
    settings: Callable[..., Opens]


@frozen(kw_only=True)
class SelectorDescriptor:
    """A way to choose among several providers that a plugin brings.

    Attributes:
        name: what users write as ``selection="<name>"``: letters and digits, with ``-``, ``_`` or ``.`` between them.
        select: the function that chooses.
    """

    name: str
    select: Selector


@frozen(kw_only=True)
class AllocationDescriptor:
    """A way to divide machines among offers that a plugin brings.

    Attributes:
        name: what users write as ``allocation="<name>"``: letters and digits, with ``-``, ``_`` or ``.`` between them.
        strategy: the strategy, whole: a name has no arguments. Others than this one users make of its class.
    """

    name: str
    strategy: AllocationStrategy


@frozen(kw_only=True)
class IntegrationDescriptor:
    """An integration that a plugin brings.

    Attributes:
        name: the public name, which users write as ``sky.integrations.<name>``.
        factory: what that name is: a decorator factory, a pool class, or a context manager.
    """

    name: str
    factory: object


# ---- what registers --------------------------------------------------------------------------------------------------


@hookspec
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """Name the providers of this plugin.

    Called once, when plugins are loaded: at the first plugin name that is asked for, or at the first pool. Return
    descriptors, and import no SDK. An exception makes the plugin's names raise ``PluginError``, which names its
    distribution and version; other plugins are not concerned.

    Example::

        @hookimpl
        def skyward_providers():
            return [ProviderDescriptor(name="Acme", settings=Acme)]
    """
    return ()


@hookspec
def skyward_selectors() -> Iterable[SelectorDescriptor]:
    """Name the selectors of this plugin: what users write as ``selection="<name>"``.

    Called once, together with ``skyward_providers``. Return descriptors. An exception makes the plugin's names raise
    ``PluginError``, which names its distribution and version.

    Example::

        @hookimpl
        def skyward_selectors():
            return [SelectorDescriptor(name="acme-nearest", select=nearest)]
    """
    return ()


@hookspec
def skyward_allocations() -> Iterable[AllocationDescriptor]:
    """Name the allocation strategies of this plugin: what users write as ``allocation="<name>"``.

    Called once, together with ``skyward_providers``. Return descriptors. An exception makes the plugin's names raise
    ``PluginError``, which names its distribution and version.

    Example::

        @hookimpl
        def skyward_allocations():
            return [AllocationDescriptor(name="acme-thirds", strategy=Thirds())]
    """
    return ()


@hookspec
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """Name the integrations of this plugin: what users write as ``sky.integrations.<name>``.

    Called once, together with ``skyward_providers``. Return descriptors, and import no framework. An exception makes
    the plugin's names raise ``PluginError``, which names its distribution and version.

    Example::

        @hookimpl
        def skyward_integrations():
            return [IntegrationDescriptor(name="acme", factory=acme)]
    """
    return ()


# ---- what changes a pool ---------------------------------------------------------------------------------------------


@hookspec
def skyward_image(image: Image, spec: ComputeSpec) -> Image | None:
    """Change the software of a pool's nodes.

    Called once for each pool, after its block was entered and before any provider is asked, on a thread of its own.
    Several plugins take turns, by the names of their distributions; ``tryfirst`` and ``trylast`` go before that. Each
    gets the image that the one before it has left, which is ``spec.image`` as well.

    Return another image, or ``None`` to leave it as it is. Raising, returning anything else, and taking longer than
    30 s end the pool with a ``PluginError`` that names the distribution and version, before anything is bought.

    Example::

        @hookimpl
        def skyward_image(image):
            return attrs.evolve(image, pip=(*image.pip, "acme-agent"))
    """


@hookspec
def skyward_bootstrap_steps(image: Image, instance: Instance) -> Iterable[Step] | None:
    """Add steps to the bootstrap of a machine.

    Called once for each machine, when it runs and before it is bootstrapped, on a thread of its own; for several
    machines at the same time. The order of plugins is that of ``skyward_image``.

    Return steps, which run after core's own, or ``None`` for none. A step is POSIX sh, runs as often as its text
    changes, and must stand being run again. It holds no secret. Nodes of ``sky.Local`` run no steps: they are
    processes of the user's own machine. Raising, returning anything else, and taking longer than 30 s end the pool
    with a ``PluginError`` that names the distribution and version; what was bought is ended.

    Example::

        @hookimpl
        def skyward_bootstrap_steps(image, instance):
            if instance.offer is not None and instance.offer.provider == "Acme":
                yield Step("acme-agent", "systemctl enable --now acme-agent")
    """


# ---- what looks on ---------------------------------------------------------------------------------------------------


@hookspec
def skyward_on_event(event: SkywardEvent) -> None:
    """See every event of every pool.

    Called once for each event, in their order, on a thread of the pool's that only calls whoever listens: it delays
    no task, but it delays other listeners, and one that has not returned 5 s after the pool's end is named in the log.

    Return nothing: an answer is not looked at. The first exception is logged with the distribution and version, and
    further ones are counted; neither the pool nor other listeners notice.

    Example::

        @hookimpl
        def skyward_on_event(event):
            if isinstance(event, sky.CostFinal):
                ledger.append(event.total)
    """
