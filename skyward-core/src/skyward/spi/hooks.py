"""The hooks of a plugin: what it registers, and the marker that it puts on its implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pluggy
from attrs import frozen

from skyward.spi.provider import Provider

__all__ = ["IntegrationDescriptor", "ProviderDescriptor", "hookimpl", "hookspec"]

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
    settings: Callable[..., Provider]


@frozen(kw_only=True)
class IntegrationDescriptor:
    """An integration that a plugin brings.

    Attributes:
        name: the public name, which users write as ``sky.integrations.<name>``.
        factory: what that name is: a decorator factory, a pool class, or a context manager.
    """

    name: str
    factory: object


@hookspec
def skyward_providers() -> Iterable[ProviderDescriptor]:
    """Name the providers of this plugin.

    Called once, at the first plugin name that is asked for or the first pool. Return descriptors, and import no SDK.
    An exception makes the plugin's names raise ``PluginError``, which names its distribution and version.

    Example::

        @hookimpl
        def skyward_providers():
            return [ProviderDescriptor(name="AWS", settings=AWS)]
    """
    return ()


@hookspec
def skyward_integrations() -> Iterable[IntegrationDescriptor]:
    """Name the integrations of this plugin: what users write as ``sky.integrations.<name>``.

    Called once, together with ``skyward_providers``. Return descriptors, and import no framework.

    Example::

        @hookimpl
        def skyward_integrations():
            return [IntegrationDescriptor(name="torch", factory=torch)]
    """
    return ()
