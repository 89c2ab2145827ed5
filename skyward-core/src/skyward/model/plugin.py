"""What ``sky.installed_plugins()`` tells of a plugin."""

from __future__ import annotations

from attrs import frozen

__all__ = ["PluginInfo"]


@frozen(kw_only=True)
class PluginInfo:
    """An installed distribution that brings a plugin, and what of it can be used.

    Attributes:
        distribution: its name.
        version: its version.
        providers: names of its providers, as in ``sky.<name>``.
        selectors: names for ``selection=``.
        allocations: names for ``allocation=``.
        integrations: names of its integrations, as in ``sky.integrations.<name>``.
        hooks: the hooks by which it changes or observes pools, such as ``skyward_on_event``.
        problem: why it, or a name of it, cannot be used: broken, turned off, clashing; ``None`` when all is well.
    """

    distribution: str
    version: str
    providers: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    allocations: tuple[str, ...] = ()
    integrations: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    problem: str | None = None

    def __str__(self) -> str:
        """One line: ``acme-cloud 1.2: providers Acme; hooks skyward_on_event``."""
        parts = [
            f"{label} {', '.join(names)}"
            for label, names in (
                ("providers", self.providers),
                ("selectors", self.selectors),
                ("allocations", self.allocations),
                ("integrations", self.integrations),
                ("hooks", self.hooks),
            )
            if names
        ]
        if self.problem is not None:
            parts.append(f"PROBLEM: {self.problem}")
        return f"{self.distribution} {self.version}: {'; '.join(parts) or 'nothing'}"
