"""The four sorts of names that a plugin can bring: who may have which name, and what may stand behind it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from attrs import field, frozen

__all__ = [
    "ALLOCATIONS",
    "FIRST_PARTY",
    "FIRST_PARTY_INTEGRATIONS",
    "INTEGRATIONS",
    "KINDS",
    "PROVIDERS",
    "SELECTORS",
    "Kind",
]

FIRST_PARTY = {
    "AWS": "skyward-aws",
    "RunPod": "skyward-runpod",
    "VastAI": "skyward-vastai",
    "Verda": "skyward-verda",
    "DigitalOcean": "skyward-digitalocean",
    "Container": "skyward-container",
}
"""Names that this project's own packages provide, so that a missing one can be named."""

FIRST_PARTY_INTEGRATIONS = {
    "torch": "skyward-torch",
    "jax": "skyward-jax",
    "keras": "skyward-keras",
    "tensorflow": "skyward-tensorflow",
    "transformers": "skyward-transformers",
    "joblib": "skyward-sklearn",
    "sklearn": "skyward-sklearn",
    "JoblibPool": "skyward-sklearn",
    "ScikitLearnPool": "skyward-sklearn",
    "joblib_backend": "skyward-sklearn",
    "sklearn_backend": "skyward-sklearn",
}

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)*")


def _is_attribute(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _is_word(name: str) -> bool:
    return _WORD.fullmatch(name) is not None


def _anything(_value: object) -> str:
    return ""


def _no_factory(value: object) -> str:
    return "" if callable(value) else "cannot be called"


def _no_selector(value: object) -> str:
    if not callable(value) or isinstance(value, type):
        return "is not a function of the providers and the request"
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
        return "is a coroutine function, which nothing awaits"
    return ""


def _no_strategy(value: object) -> str:
    if isinstance(value, type):
        return "is a class, not an object of it"
    if not callable(getattr(value, "allocate", None)):
        return "has no method allocate(candidates, nodes)"
    return "" if isinstance(getattr(value, "name", None), str) else "has no name"


@frozen(eq=False)
class Kind:
    """One sort of names.

    Attributes:
        plural: what `PluginInfo` calls it; the hook that brings it is ``skyward_<plural>``.
        descriptor: the class of what the hook gives.
        attribute: what of a descriptor stands behind its name.
        form: how users write a name of it.
        valid: whether a name can be written so.
        objection: why a value cannot stand behind a name; empty when it can.
        first_party: names of this project's own packages, with their distributions.
    """

    plural: str
    descriptor: str
    attribute: str
    form: str
    valid: Callable[[str], bool]
    objection: Callable[[object], str]
    first_party: dict[str, str] = field(factory=dict)

    @property
    def hook(self) -> str:
        """The hook that brings such names."""
        return f"skyward_{self.plural}"

    def spelt(self, name: str) -> str:
        """A name as users write it."""
        return self.form.format(name)

    def read(self, descriptor: Any) -> tuple[str, Any]:
        """The name and the value of a descriptor.

        Raises:
            ValueError: the name cannot be written, or the value cannot stand behind it.
        """
        name, value = descriptor.name, getattr(descriptor, self.attribute)
        if not isinstance(name, str) or not self.valid(name):
            raise ValueError(f"{self.hook} gives the name {name!r}, which {self.spelt('<name>')} cannot have")
        objection = self.objection(value)
        if objection:
            raise ValueError(f"{self.hook} gives for {name!r} {value!r}, which {objection}")
        return name, value


PROVIDERS = Kind("providers", "ProviderDescriptor", "settings", "sky.{}", _is_attribute, _no_factory, FIRST_PARTY)
SELECTORS = Kind("selectors", "SelectorDescriptor", "select", "selection={!r}", _is_word, _no_selector)
ALLOCATIONS = Kind("allocations", "AllocationDescriptor", "strategy", "allocation={!r}", _is_word, _no_strategy)
INTEGRATIONS = Kind(
    "integrations",
    "IntegrationDescriptor",
    "factory",
    "sky.integrations.{}",
    _is_attribute,
    _anything,
    FIRST_PARTY_INTEGRATIONS,
)
KINDS = (PROVIDERS, SELECTORS, ALLOCATIONS, INTEGRATIONS)
