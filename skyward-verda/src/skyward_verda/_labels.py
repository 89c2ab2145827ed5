"""Whose an instance is, from what the account has. Pure.

An instance bears its label as its description, which cannot be changed afterwards. Its startup script bears it as well,
and a deadline that was moved is told by a further script that nobody runs: scripts are the one thing of an account that
has room for a text, and that is there for all clients. Of several, the one that was made last counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import frozen

from skyward.spi import Instance, InstanceState, MachineLabel
from skyward_verda._api import Key, Machine, Script, Volume

__all__ = ["DEAD", "Records", "instance", "keyed", "record", "scripted"]

DEAD = frozenset({"offline", "error"})
"""An instance that does nothing any more, and costs as much as before."""
_GONE = frozenset({"discontinued", "deleting", "deleted", "notfound", "no_capacity"})
_LINE = re.compile(r"^# (skyward:\S+)$", re.MULTILINE)
_NAME = re.compile(r"skyward-(.+)-(\d+)-([0-9a-f]{8})")


def scripted(label: MachineLabel, script: str) -> str:
    """A startup script that tells whose its instance is."""
    first, _, rest = script.partition("\n")
    return f"{first}\n# {label.text()}\n{rest}"


def record(label: MachineLabel) -> str:
    """What is kept as a script to tell the label that an instance has now."""
    return f"#!/bin/sh\n# {label.text()}\n# Skyward keeps this for the instance {label.name}. Nothing runs it.\n"


def keyed(public: str, label: MachineLabel) -> str:
    """The line of a public key, whose comment tells the pool that it belongs to."""
    kind, key, *_ = public.split()
    return f"{kind} {key} {label.text()}"


@frozen
class Records:
    """What the scripts of an account tell.

    Attributes:
        of_script: the label in each, by the script's id.
        by_mark: the label that counts now, by its mark.
    """

    of_script: Mapping[str, MachineLabel]
    by_mark: Mapping[str, MachineLabel]

    @classmethod
    def of(cls, scripts: Iterable[Script]) -> Records:
        """From all scripts of the account, most of which may be somebody else's."""
        found = {}
        for each in sorted(scripts, key=lambda script: script.created_at):
            if (label := _label_in(each.script)) is not None:
                found[each.id] = label
        return cls(found, {label.mark: label for label in found.values()})

    def label(self, machine: Machine) -> MachineLabel | None:
        """The label of an instance; ``None`` for somebody else's."""
        own = MachineLabel.read(machine.description) or self.of_script.get(machine.startup_script_id or "")
        return own and self.by_mark.get(own.mark, own)

    def of_key(self, key: Key) -> MachineLabel | None:
        """The label of a key; likewise."""
        return MachineLabel.read(key.key.split()[-1] if key.key.split() else "")

    def of_volume(self, volume: Volume) -> MachineLabel | None:
        """The label of a volume that no instance has; likewise. It has its instance's name, and seldom outlives it."""
        found = None if volume.instance_id else _NAME.fullmatch(volume.name)
        if found is None:
            return None
        return self.by_mark.get(found[3]) or MachineLabel(pool_id=found[1], node=int(found[2]), mark=found[3])


def instance(machine: Machine, label: MachineLabel) -> Instance:
    """An instance as the contract has it."""
    if machine.status in _GONE:
        state = InstanceState.GONE
    else:
        state = InstanceState.RUNNING if machine.status == "running" and machine.ip else InstanceState.PENDING
    return label.instance(
        machine.id,
        state,
        ip=machine.ip,
        details={
            "state": machine.status,
            "location": machine.location,
            "instance_type": machine.instance_type,
            "market": "spot" if machine.is_spot else "on-demand",
        },
    )


def _label_in(script: str) -> MachineLabel | None:
    return MachineLabel.read(*(each for each in _LINE.findall(script[:4096])))
