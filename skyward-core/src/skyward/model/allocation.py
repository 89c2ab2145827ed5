"""How a pool's machines are split between spot and on-demand."""

from __future__ import annotations

from typing import ClassVar

from attrs import Attribute, field, frozen

from skyward.errors import ConfigurationError
from skyward.model.nearest import did_you_mean

__all__ = ["Allocation", "AllocationLike", "parse_allocation"]


@frozen
class _Strategy:
    name: ClassVar[str] = ""


@frozen
class SpotIfAvailable(_Strategy):
    """Spot machines where there are any, on-demand ones for the rest. The default."""

    name: ClassVar[str] = "spot-if-available"


@frozen
class AlwaysSpot(_Strategy):
    """Spot machines or none: provisioning fails when there are too few."""

    name: ClassVar[str] = "spot"


@frozen
class OnDemandOnly(_Strategy):
    """On-demand machines only."""

    name: ClassVar[str] = "on-demand"


@frozen
class Cheapest(_Strategy):
    """Whatever costs least now, spot or on-demand."""

    name: ClassVar[str] = "cheapest"


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _check_share(_strategy: Percent, _attribute: Attribute[float], value: float) -> None:
    if not _is_share(value):
        raise ConfigurationError(f"the share of spot machines is {value!r}; give a fraction from 0 to 1, such as 0.8")


@frozen
class Percent(_Strategy):
    """At least this share of the machines on spot, rounded up; the rest on-demand.

    ``spot`` is a fraction between 0 and 1. Where nothing is to be had on demand, the rest is spot as well.
    """

    name: ClassVar[str] = "percent"
    spot: float = field(validator=_check_share)


class Allocation:
    """The allocation strategies as values: ``sky.Allocation.SpotIfAvailable()`` and so on.

    ``OnDemand`` may be written with or without parentheses.
    """

    SpotIfAvailable = SpotIfAvailable
    AlwaysSpot = AlwaysSpot
    OnDemand = OnDemandOnly
    Cheapest = Cheapest
    Percent = Percent


type AllocationLike = str | float | _Strategy | type[OnDemandOnly]

_NAMES: dict[str, _Strategy] = {
    "spot-if-available": SpotIfAvailable(),
    "spot": AlwaysSpot(),
    "always-spot": AlwaysSpot(),
    "on-demand": OnDemandOnly(),
    "cheapest": Cheapest(),
}


def parse_allocation(value: object) -> _Strategy:
    """Return the strategy that a user's value means: a name, a share of spot, or a strategy.

    Raises:
        ConfigurationError: it means none; the near matches are named.
    """
    if isinstance(value, _Strategy):
        return value
    if isinstance(value, type) and issubclass(value, _Strategy) and value is not Percent:
        return value()
    if isinstance(value, str):
        if value in _NAMES:
            return _NAMES[value]
        raise ConfigurationError(f"allocation {value!r} is unknown{did_you_mean(value, _NAMES)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Percent(value)
    raise ConfigurationError(
        f"allocation is {value!r}; give one of {', '.join(_NAMES)}, or a share of spot such as 0.8"
    )
