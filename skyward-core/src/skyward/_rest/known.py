"""What a session knows of the machines that it has launched, beside what the vendor says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import evolve

from skyward.model.instance import Instance, InstanceState

__all__ = ["BILLED", "Known", "exists"]

BILLED = "billed"
"""In ``Instance.details``, and true: a machine that is `GONE` for its pool, and exists and costs until it is ended."""


def exists(machine: Instance) -> bool:
    """Whether there is something to end."""
    return machine.state is not InstanceState.GONE or machine.details.get(BILLED) is True


class Known:
    """The machines of one session.

    Args:
        now: tells the time in seconds.
        lag: seconds in which the vendor may not tell yet of what it has just done.
    """

    def __init__(self, now: Callable[[], float], lag: float = 60.0) -> None:
        self._now = now
        self._lag = lag
        self._launched: dict[str, Instance] = {}
        self._unseen: dict[str, float] = {}
        self._moved: dict[str, tuple[float, float]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._launched

    def note(self, machine: Instance) -> None:
        """A machine was launched just now."""
        self._launched[machine.id] = machine
        self._unseen[machine.id] = self._now() + self._lag

    def ending(self, names: Iterable[str]) -> None:
        """From now on the vendor's word alone counts for these."""
        for name in names:
            self._unseen.pop(name, None)

    def forget(self, names: Iterable[str]) -> None:
        """These are gone."""
        for name in names:
            self._unseen.pop(name, None)
            self._launched.pop(name, None)
            self._moved.pop(name, None)

    def move(self, name: str, deadline: float) -> None:
        """The deadline of a machine was moved just now, which its label may not tell yet."""
        self._moved[name] = (self._now() + self._lag, deadline)
        if name in self._launched:
            self._launched[name] = evolve(self._launched[name], deadline=deadline)

    def told(self, machine: Instance) -> Instance | None:
        """A machine as the vendor tells of it, completed; ``None`` for a stranger's."""
        self._unseen.pop(machine.id, None)
        launched = self._launched.get(machine.id)
        if launched is not None:
            machine = evolve(machine, node=launched.node, offer=launched.offer)
            if not machine.pool_id:
                machine = evolve(
                    machine,
                    pool_id=launched.pool_id,
                    deadline=launched.deadline,
                    owner=launched.owner,
                    client=launched.client,
                    details={**launched.details, **machine.details},
                )
        if not machine.pool_id:
            return None
        until, deadline = self._moved.get(machine.id, (0.0, None))
        if self._now() < until:
            machine = evolve(machine, deadline=deadline)
        if machine.state is InstanceState.RUNNING and not machine.ip:
            machine = evolve(machine, state=InstanceState.PENDING)
        return machine

    def untold(self, names: Iterable[str] | None = None) -> list[Instance]:
        """Those of these machines, or of all, that the vendor need not know yet."""
        now = self._now()
        self._unseen = {name: until for name, until in self._unseen.items() if now < until}
        return [self._launched[name] for name in self._unseen if names is None or name in names]
