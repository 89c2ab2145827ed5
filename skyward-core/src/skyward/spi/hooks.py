"""The hooks of a plugin: what it registers, and the marker that it puts on its implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pluggy
from attrs import frozen

from skyward.spi.provider import Provider

__all__ = ["ProviderDescriptor", "hookimpl", "hookspec"]

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
