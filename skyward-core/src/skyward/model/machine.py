"""``MachineType``: what a provider calls a kind of machine, and what such a machine has."""

from __future__ import annotations

import math
from typing import Literal

from attrs import Attribute, field, frozen

from skyward.errors import ConfigurationError
from skyward.model.accelerator import Accelerator

__all__ = ["Architecture", "MachineType", "is_number"]

type Architecture = Literal["x86_64", "arm64"]


def is_number(value: object) -> bool:
    """Whether this is an int or float (a bool is not) that is neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _positive(machine: MachineType, attribute: Attribute[float], value: float) -> None:
    if not (is_number(value) and value > 0):
        raise ConfigurationError(f"{attribute.name} of {machine.name} must be more than 0, not {value!r}; correct it")


def _price(machine: MachineType, attribute: Attribute[float | None], value: float | None) -> None:
    if value is not None and not (is_number(value) and value >= 0):
        raise ConfigurationError(
            f"{attribute.name} of {machine.name} must be 0 or more, not {value!r}; use None for an unknown price"
        )


def _architecture(machine: MachineType, _: Attribute[Architecture], value: Architecture) -> None:
    if value not in {"x86_64", "arm64"}:
        raise ConfigurationError(f"architecture of {machine.name} must be 'x86_64' or 'arm64', not {value!r}")


def _accelerator(value: Accelerator | str | None) -> Accelerator | None:
    return None if value is None else Accelerator.parse(value)


@frozen
class MachineType:
    """A kind of machine.

    ``name`` is the provider's own; ``vcpu`` counts virtual CPUs (a share of a host may have a fraction);
    ``memory_gb`` is in GB of 10**9 bytes; ``accelerator`` (an ``Accelerator`` or its name) says also how many of it
    one machine has; prices are in US dollars per machine and hour, ``None`` when unknown or not on sale that way.
    Raises :class:`ConfigurationError` for figures that cannot be.
    """

    name: str
    vcpu: float = field(validator=_positive)
    memory_gb: float = field(validator=_positive)
    accelerator: Accelerator | None = field(default=None, converter=_accelerator)
    architecture: Architecture = field(default="x86_64", validator=_architecture)
    price_on_demand: float | None = field(default=None, validator=_price)
    price_spot: float | None = field(default=None, validator=_price)

    @property
    def instance_type(self) -> str:
        """The name, as :func:`~skyward._select_instance.select_instance` asks for it."""
        return self.name

    @property
    def accelerator_count(self) -> int:
        """Devices per machine, 0 without an accelerator."""
        return 0 if self.accelerator is None else self.accelerator.count
