"""Functions that run together, on the client: all begin or none, one that fails ends the others, all run again or none.

A group's tasks get their slots at one time from the scheduler. Each slot is then asked for a port (`Kind.GATHER`);
with the last answer all tasks go out, and each brings the list of all ports (`Kind.GROUP`). Up to there nothing has
run: a slot or node that is lost sends the whole group back to wait.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Buffer, Callable, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from skyward import _deaths
from skyward._bound import probe_of, to_renew
from skyward._group import End, Judge, account, fate_of, first_cause, is_certain, may_run_again
from skyward._task import Task
from skyward.errors import TaskError, UsageError
from skyward.worker.protocol import Kind, encode

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._scheduler import Scheduler, SlotKey
    from skyward._slot import SlotClient
    from skyward.function import ComputeFunction

__all__ = ["Alone", "Team", "Teams", "judge_of"]

_log = logging.getLogger("skyward.tasks")

LOOPBACK = "127.0.0.1"
_LATE = 5.0
"""Seconds after which a call whose slots do not answer says which."""
_TOLD = 8
"""Slots that a line names one by one."""
_HEAR_OUT = 1.0
"""Seconds that the others are given to fail by themselves, when the first failure may be the consequence of another."""


class Alone:
    """The group of a function that is sent to one slot: it opens its port and makes its list there."""

    shares_fate = False
    is_met = True

    def __init__(self, function: ComputeFunction[..., Any]) -> None:
        self.probe = probe_of(function)

    def frames(self, sequence: int, _task: Task) -> list[Buffer]:
        """What goes before the task."""
        return encode(Kind.GROUP, head=(sequence, "", 0, (), LOOPBACK, self.probe))


class Team:
    """One call of a function that runs together, from its submission to its outcome.

    Args:
        first: what is to run; each rank gets a copy.
        places: node and slot of each rank.
        judge: tells consequences from causes.
        probe: what slots are asked with for what their processes are bound to.

    Attributes:
        nodes: of all ranks.
        tasks: by rank; new ones each time that it runs again.
        error: what it ended with, once it has; ``None`` if all ranks completed.
    """

    shares_fate = True

    def __init__(self, first: Task, places: Sequence[SlotKey], judge: Judge | None, probe: bytes = b"") -> None:
        self.name = first.name
        self.places = list(places)
        self.nodes = frozenset(node for node, _ in places)
        self.judge = judge
        self.probe = probe
        self.retries = first.retries
        self.cancelled = False
        self.error: BaseException | None = None
        self._first = first
        self._done: Callable[[], object] = lambda: None
        self.renew()

    def renew(self) -> None:
        """Make what has not run yet."""
        first = self._first
        self.tasks = [Task(first.encoded, first.payload, first.bundle, node=node) for node, _ in self.places]
        for rank, task in enumerate(self.tasks):
            task.team, task.rank, task.place = self, rank, self.places[rank]
        self.ends: list[End] = []
        self.stopping = False
        self.wait()

    def wait(self) -> None:
        """It is to be gathered, once more or for the first time."""
        self.call = secrets.token_hex(8)
        self.gang: int | None = None
        self.is_met = False
        self.ports: dict[int, int] = {}
        self.bound: dict[int, str | None] = {}
        self._addresses: dict[int, str] = {}
        self._members: tuple[tuple[int, int, str, int], ...] = ()

    def begin(self, addresses: dict[int, str]) -> None:
        """All slots are there: they are asked for ports. ``addresses`` are where the nodes reach each other.

        On one node they meet at its loopback: its address may be a router's, or one that all the world can reach.
        """
        self.gang = None
        self._addresses = addresses if len(self.nodes) > 1 else dict.fromkeys(self.nodes, LOOPBACK)

    def meet(self) -> None:
        """All ports are known."""
        self.is_met = True
        self._members = tuple(
            (node, slot, self._addresses[node], self.ports[rank]) for rank, (node, slot) in enumerate(self.places)
        )

    def frames(self, sequence: int, task: Task) -> list[Buffer]:
        """What goes to a slot before the task; instead of it, as long as not all have met."""
        if self.is_met:
            return encode(Kind.GROUP, head=(sequence, self.call, task.rank, self._members, "", b""))
        address = self._addresses[self.places[task.rank][0]]
        return encode(Kind.GATHER, head=(sequence, self.call, address, self.probe, len(self.tasks)))

    # what the caller does

    def start(self, dispatcher: Dispatcher, done: Callable[[], object]) -> None:
        """Have it run, and ``done`` called when it has ended."""
        self._done = done
        dispatcher.teams.start(self)

    def cancel(self, dispatcher: Dispatcher) -> None:
        """Stop it."""
        dispatcher.teams.cancel(self)

    def finish(self, error: BaseException | None) -> None:
        """It has ended. Whoever waits for it is told."""
        self.error = error
        self._done()

    def outcomes(self) -> list[tuple[Any, BaseException | None]]:
        """What came out, by rank; the one error if it failed."""
        return [(None, self.error)] if self.error is not None else [task.outcome() for task in self.tasks]


def judge_of(function: ComputeFunction[..., Any]) -> Judge | None:
    """What an integration has put beside its function to tell consequences from causes."""
    judge: Judge | None = getattr(function, "is_consequence", None)
    return judge


class Teams:
    """The teams of one pool. What comes from the dispatcher comes with its lock held.

    Args:
        dispatcher: whose slots they run in.
        scheduler: its own.
        tasks: its own, by their numbers.
    """

    def __init__(self, dispatcher: Dispatcher, scheduler: Scheduler, tasks: MutableMapping[int, Task]) -> None:
        self._dispatcher = dispatcher
        self._scheduler = scheduler
        self._tasks = tasks
        self.addresses: Callable[[], dict[int, str]] = dict
        """Where the nodes reach each other, by their indices."""
        self.apart: Callable[[], str] = str
        """Why they do not, by private addresses, and what to do; empty where they do."""

    # from the caller

    def start(self, team: Team) -> None:
        """Have a team run as soon as all of its slots are free at one time."""
        with self._dispatcher.lock:
            why = self._dispatcher.closed
            for task in team.tasks:
                task.on_done = self._ended
            if why is not None:
                self._finish(team, lambda _: UsageError(why))
                return
            self._wait(team)

    def cancel(self, team: Team) -> None:
        """Stop all of it; as with every task, one that does not react is killed after a grace."""
        with self._dispatcher.lock:
            team.cancelled = True
            if team.is_met:
                self._dispatcher.cancel(team.tasks)
                return
            self._scheduler.withdraw_together(team.gang or 0)
            self._let_go(team)
            for task in team.tasks:
                task.cancelled = True
            self._finish(team, _deaths.was_cancelled)
            self.gather()

    # from the dispatcher

    def gather(self) -> None:
        """Slots have come, gone or become free: see whether the next team can begin."""
        if not self._scheduler.gathers:
            return
        refused = False
        for assignment in self._scheduler.gather():
            task = self._tasks.get(assignment.task)
            if task is None:  # of a team that was refused a moment ago
                continue
            team = task.team
            if isinstance(team, Team) and team.gang is not None:
                team.begin(self.addresses())
                self._dispatcher.later(_LATE, partial(self._tell_of_the_late, team, team.call))
                if self._refused(team):  # machines have been replaced while it waited
                    refused = True
                    continue
            self._dispatcher.assign(assignment)
        if refused:
            self.gather()

    def answered(  # noqa: PLR0917 -- as they come
        self, slot: SlotClient, sequence: int, port: int, why: str, bound: str | None, unknown: str
    ) -> None:
        """A slot has opened a port for the task that it will be sent under this number, or could not."""
        with self._dispatcher.lock:
            task = slot.holds(sequence)
            team = None if task is None else task.team
            if task is None or not isinstance(team, Team) or team.is_met:
                return
            if not port or unknown:
                message = f"no port can be had for {team.name}: {why}; see what uses them up on that node"
                if port:
                    message = f"the process that was to run {team.name} cannot: {unknown}"
                self._let_go(team)
                self._finish(team, lambda _: TaskError(message, node=slot.key[0], slot=slot.key[1]))
                self.gather()
                return
            team.ports[task.rank], team.bound[task.rank] = port, bound
            if len(team.ports) < len(team.tasks):
                return
            slots = [self._dispatcher.nodes[node].slots[index] for node, index in team.places]
            renewed = to_renew(team.bound)
            for rank in renewed:
                slots[rank].renew()  # whose end sends the team back to wait
            if not renewed:
                team.meet()
                for each, place in zip(team.tasks, slots, strict=True):
                    place.send_on(each)

    def lost(self, task: Task, error: TaskError) -> None:
        """The slot or the node that held a task of a team is gone."""
        team = task.team
        assert isinstance(team, Team)
        if team.is_met:
            self._dispatcher.finish(task, error)
        elif team.gang is None and task.number in self._tasks:  # else it has been sent back already
            self._let_go(team)
            if task.node is not None and not self._dispatcher.has_place(task.node):
                self._finish(team, lambda _: error)
                self.gather()
            else:
                team.wait()
                self._wait(team)

    # inside

    def _tell_of_the_late(self, team: Team, call: str) -> None:
        """Say for whom a team waits that has been gathering for a while: importing a framework can take a minute."""
        with self._dispatcher.lock:
            late = [place for rank, place in enumerate(team.places) if rank not in team.ports]
            if late and team.call == call and not team.is_met and not team.tasks[0].done:
                told = ", ".join(f"slot {slot} of node {node}" for node, slot in late[:_TOLD])
                more = f" and {len(late) - _TOLD} more" if len(late) > _TOLD else ""
                _log.info("%s waits for %s%s to start, and to import what is needed", team.name, told, more)

    def _wait(self, team: Team) -> None:
        """Put a team, none of whose tasks is on a slot, at the end of the turn."""
        dispatcher = self._dispatcher
        gone = next((node for node, _ in team.places if not dispatcher.has_place(node)), None)
        if gone is not None:
            self._finish(team, lambda task: dispatcher.no_node(task, gone))
            return
        if self._refused(team):
            return
        self._tasks.update((task.number, task) for task in team.tasks)
        numbers = (task.number for task in team.tasks)
        team.gang = self._scheduler.submit_together(dict(zip(team.places, numbers, strict=True)))
        self.gather()

    def _refused(self, team: Team) -> bool:
        """End a team whose nodes cannot reach each other: it would wait for a long time, and fail then."""
        why = self.apart() if len(team.nodes) > 1 else ""
        if why:
            self._let_go(team)
            message = f"{team.name} runs together on {len(team.nodes)} nodes that must reach each other: {why}"
            self._finish(team, lambda _: UsageError(message))
        return bool(why)

    def _let_go(self, team: Team) -> None:
        """Take the tasks of a team off their slots, which have been asked for ports and nothing else."""
        for task in team.tasks:
            key = self._scheduler.locate(task.number)
            if key is None:
                continue
            slot = self._dispatcher.nodes[key[0]].slots[key[1]]
            sequence = slot.sequence_of(task)
            if sequence is not None:
                slot.release(sequence)
                slot.part(team.call)
            self._dispatcher.assign(self._scheduler.drop(task.number, key))

    def _finish(self, team: Team, error: Callable[[Task], TaskError | UsageError]) -> None:
        """End a team of which nothing has run."""
        for task in team.tasks:
            self._dispatcher.finish(task, error(task))

    def _ended(self, task: Task) -> None:
        """One rank has ended, in whatever way."""
        with self._dispatcher.lock:
            team = task.team
            assert isinstance(team, Team)
            fate = fate_of(task.error, stopped=task.cancelled, judge=team.judge)
            team.ends.append(End(task.rank, fate, task.error))
            if len(team.ends) == len(team.tasks):
                self._conclude(team)
            elif task.error is not None and not team.cancelled and team.is_met:
                if is_certain(fate, team.judge):
                    self._stop(team, team.call)
                elif not team.stopping:
                    team.stopping = True
                    self._dispatcher.later(_HEAR_OUT, lambda call=team.call: self._stop(team, call))  # type: ignore[misc]

    def _stop(self, team: Team, call: str) -> None:
        """End what still runs of a call that has failed."""
        with self._dispatcher.lock:
            if team.call == call and self._dispatcher.closed is None:
                self._dispatcher.cancel([task for task in team.tasks if not task.done])

    def _conclude(self, team: Team) -> None:
        """All ranks have ended: the call has, too, unless it runs again."""
        cause = first_cause(team.ends)
        if cause is None or cause.error is None:
            team.finish(None)
            return
        again = may_run_again(cause) and team.retries > 0 and not team.cancelled and self._dispatcher.closed is None
        if again and all(self._dispatcher.has_place(node) for node, _ in team.places):
            team.retries -= 1
            _log.info("%s runs again, all %s of it: %s", team.name, len(team.tasks), cause.error)
            team.renew()
            self.start(team)
            return
        if len(team.tasks) > 1 and team.is_met:  # else nothing of it has run
            with contextlib.suppress(Exception):  # of the error's own class: the call is to end all the same
                cause.error.add_note(account(team.name, team.places, team.ends, cause))
        team.finish(cause.error)
