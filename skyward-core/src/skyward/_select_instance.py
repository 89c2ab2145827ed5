"""``select_instance``: the smallest machine that has what is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from attrs import frozen

from skyward.errors import ConfigurationError
from skyward.model.accelerator import Accelerator
from skyward.model.machine import is_number
from skyward.model.memory import parse_memory

__all__ = ["InstanceLike", "select_instance"]


class InstanceLike(Protocol):
    """What a machine must tell of itself: a :class:`~skyward.model.machine.MachineType`, or any object with these.

    ``memory_gb`` is in GB of 10**9 bytes. ``accelerator`` may be a name; ``accelerator_count`` then says how many.
    """

    @property
    def instance_type(self) -> str: ...
    @property
    def vcpu(self) -> float: ...
    @property
    def memory_gb(self) -> float: ...
    @property
    def accelerator(self) -> Accelerator | str | None: ...
    @property
    def accelerator_count(self) -> int: ...


def select_instance[M: InstanceLike](
    available_instances: Iterable[M],
    *,
    accelerator: str | Accelerator | None = None,
    cpu: float | None = None,
    memory: str | None = None,
) -> M:
    """Return the smallest of the machines that has at least what is asked for.

    ``accelerator`` is a name or value with its count, ``cpu`` a number of virtual CPUs, ``memory`` an amount such as
    ``"128GB"``; what is left out does not matter. Smallest means fewest accelerators, then the least memory of each,
    then fewest CPUs, then least memory; among equals the first by name. Machines with an accelerator that the
    catalogue does not know are passed over.

    Raises :class:`ConfigurationError` when no machine fits, naming the one that comes nearest and what it lacks.
    """
    wanted = _Wanted(
        accelerator=None if accelerator is None else Accelerator.parse(accelerator),
        cpu=_cpu(cpu),
        memory_gb=0.0 if memory is None else parse_memory(memory),
    )
    machines = [(machine, _devices(machine)) for machine in available_instances if _is_known(machine)]
    if not machines:
        raise ConfigurationError("there are no machines to choose from; pass the list that the provider offers")
    fitting = [(machine, has) for machine, has in machines if not wanted.lacks(machine, has)]
    if fitting:
        return min(fitting, key=lambda entry: _size(*entry))[0]
    nearest, has = min(machines, key=lambda entry: (wanted.distance(*entry), _size(*entry)))
    raise ConfigurationError(
        f"none of {len(machines)} machines has {wanted.described()}; nearest is {_described(nearest, has)}, "
        f"which lacks {' and '.join(wanted.lacks(nearest, has))}; ask for less, or look at another provider or region"
    )


@frozen
class _Wanted:
    accelerator: Accelerator | None
    cpu: float
    memory_gb: float

    def lacks(self, machine: InstanceLike, has: Accelerator | None) -> list[str]:
        missing: list[str] = []
        if self.accelerator is not None and (has is None or not has.satisfies(self.accelerator)):
            missing.append(f"accelerator {self.accelerator}")
        if machine.vcpu < self.cpu:
            missing.append(f"{self.cpu:g} vCPU")
        if machine.memory_gb < self.memory_gb:
            missing.append(f"{self.memory_gb:g} GB")
        return missing

    def distance(self, machine: InstanceLike, has: Accelerator | None) -> float:
        """0 for a fit; a shortfall of half counts 1, and a wrong model as much as a thousandfold shortfall."""
        return (
            self._model_distance(has)
            + max(0.0, math.log2(self.cpu / machine.vcpu) if self.cpu else 0.0)
            + max(0.0, math.log2(self.memory_gb / machine.memory_gb) if self.memory_gb else 0.0)
        )

    def _model_distance(self, has: Accelerator | None) -> float:
        want = self.accelerator
        if want is None or (has is not None and has.satisfies(want)):
            return 0.0
        if has is None:
            return 20.0
        short = max(0.0, math.log2(want.count / has.count))
        if has.model == want.model:
            return 0.5 + short + max(0.0, math.log2(want.memory_gb / has.memory_gb))
        return (10.0 if has.vendor == want.vendor else 15.0) + short

    def described(self) -> str:
        parts = [str(self.accelerator)] if self.accelerator else []
        parts += [f"{self.cpu:g} vCPU"] if self.cpu else []
        parts += [f"{self.memory_gb:g} GB"] if self.memory_gb else []
        return " and ".join(parts)


def _size(machine: InstanceLike, has: Accelerator | None) -> tuple[float, float, float, float, str]:
    devices, each = (has.count, has.memory_gb) if has else (0, 0.0)
    return devices, each, machine.vcpu, machine.memory_gb, machine.instance_type


def _described(machine: InstanceLike, has: Accelerator | None) -> str:
    device = f", {has}" if has else ", no accelerator"
    return f"{machine.instance_type} ({machine.vcpu:g} vCPU, {machine.memory_gb:g} GB{device})"


def _is_known(machine: InstanceLike) -> bool:
    """False for a device newer than the catalogue: nothing can be said about whether it would do."""
    try:
        _devices(machine)
    except ConfigurationError:
        return False
    return True


def _devices(machine: InstanceLike) -> Accelerator | None:
    accelerator, count = machine.accelerator, machine.accelerator_count
    if accelerator is None or count == 0:
        return None
    return Accelerator.parse(accelerator).with_count(count)


def _cpu(value: float | None) -> float:
    if value is None:
        return 0.0
    if not (is_number(value) and value > 0):
        raise ConfigurationError(f"cpu must be a number of virtual CPUs above 0, not {value!r}; leave it out for any")
    return value
