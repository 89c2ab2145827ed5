"""Brings tasks, slots and the scheduler together. One lock; no waiting under it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skyward import _deaths
from skyward._bound import was_renewed
from skyward._group import said_by, was_killed
from skyward._leaving import Leaving
from skyward._news import News
from skyward._pace import Pace
from skyward._scheduler import Assignment, Scheduler, SlotKey
from skyward._together import Teams
from skyward.errors import NodeLost, PoolTimeout, TaskError, UsageError
from skyward.model.events import TaskCompleted, TaskStarted
from skyward.worker.protocol import Frame, Kind

if TYPE_CHECKING:
    from skyward._events import EventBus
    from skyward._node import Node
    from skyward._reactor import Reactor
    from skyward._slot import SlotClient
    from skyward._task import Task

__all__ = ["Dispatcher"]

_log = logging.getLogger("skyward.tasks")

_VICTIMS = 3
"""As many slots may die with a task that has not begun; then the task fails."""
_TAKE_BACK_AFTER = 0.002
"""Seconds that a task may wait behind another one while a slot is idle, before it is asked back."""


class Dispatcher(News):
    """The tasks of one pool. Every method may be called from any thread."""

    def __init__(self, events: EventBus, reactor: Reactor) -> None:
        super().__init__(events)
        self.lock = threading.RLock()
        self._reactor = reactor
        self._scheduler = Scheduler(self._may_go_ahead)
        self._tasks: dict[int, Task] = {}
        self._leaving = Leaving(self, self._scheduler, self._tasks, events)
        self.teams = Teams(self, self._scheduler, self._tasks)
        self._pace = Pace()
        self._up: dict[SlotKey, None] = {}
        self._checking = False
        self.closed: str | None = None
        self._expected: set[int] = set()
        self._cut = False  # whether a machine has reached the pool's time limit
        self.time_limit = "timeout"  # the parameter from which that limit follows
        self._victims: dict[int, int] = {}  # task -> slots that died when it was the next to run there
        self._perhaps: set[int] = set()  # tasks that have begun, unless they are given back
        reactor.busy = self._tasks.__len__
        self.on_node_lost: Callable[[Node, str], bool] = lambda _node, _why: False

    # from the pool

    def submit(self, tasks: Sequence[Task]) -> None:
        """Have tasks run; each one's ``on_done`` is called when it has ended."""
        with self.lock:
            if self.closed is not None:
                for task in tasks:
                    self.finish(task, UsageError(self.closed))
                return
            for task in tasks:
                if not (self.nodes and task.node is None) and not self.has_place(task.node):
                    self.finish(task, self.no_node(task, task.node))
                    continue
                self._tasks[task.number] = task
                self.assign(self._scheduler.submit(task.number, task.node))

    def has_place(self, node: int | None) -> bool:
        """Whether there is, or will be, a machine for a task."""
        if node is None:
            return bool(self.nodes or self._expected)
        return node in self.nodes or node in self._expected

    def withdraw(self, task: Task) -> bool:
        """Drop a task that no slot has, without telling anybody; False when it runs or has ended."""
        with self.lock:
            if not self._scheduler.withdraw(task.number):
                return False
            self._tasks.pop(task.number, None)
            return True

    def cancel(self, tasks: Sequence[Task]) -> None:
        """Stop tasks: one that waits is dropped, one that runs is interrupted on its node."""
        with self.lock:
            for task in tasks:
                if task.done or task.cancelled:
                    continue
                task.cancelled = True
                if self._scheduler.withdraw(task.number):
                    self.finish(task, _deaths.was_cancelled(task))
                    continue
                key = self._scheduler.locate(task.number)
                if key is None:
                    continue
                slot = self.nodes[key[0]].slots[key[1]]
                sequence = slot.sequence_of(task)
                if sequence is None:
                    continue
                if self._scheduler.held(key)[0] == task.number:
                    self.nodes[key[0]].cancel(key[1], sequence)
                else:
                    self.nodes[key[0]].recall(key[1], sequence)

    def close(self, why: str) -> None:
        """End: whatever is not done fails with ``why``."""
        with self.lock:
            self.closed = why
            for task in list(self._tasks.values()):
                self.finish(task, UsageError(why))
            for node in list(self.nodes.values()):  # one that cannot be told is lost there and then
                for slot in node.slots:
                    slot.close()
                node.close()

    def slots_up(self, node: int) -> int:
        """How many slots of a node take tasks."""
        return sum(key[0] == node for key in self._up)

    # from the slots

    def slot_up(self, slot: SlotClient) -> None:
        """A slot is there. Called with the lock held."""
        self._up[slot.key] = None
        self._expected.discard(slot.key[0])
        if self.nodes[slot.key[0]] not in self._leaving:
            self.assign(self._scheduler.slot_up(slot.key))
        self._mind_head()
        self.nodes[slot.key[0]].slot_ready()

    def slot_away(self, slot: SlotClient) -> None:
        """A slot is out of reach: what could be sent to it goes to others. Called with the lock held."""
        self._scheduler.slot_away(slot.key)
        self._mind_head()

    def slot_back(self, slot: SlotClient) -> None:
        """A slot that was out of reach has been connected again. Called with the lock held."""
        if self.nodes.get(slot.key[0]) not in self._leaving:
            self.assign(self._scheduler.slot_back(slot.key))
        self._mind_head()
        if not self._checking:
            self._look_for_waiting()

    def _mind_head(self) -> None:
        """Have the copies of a broadcast wait while node 0 is replaced or away, so that all know the same one.

        When it takes tasks, the others have been told where it is.
        """
        missing = self.has_place(0) and not self._scheduler.in_reach(0)
        for assignment in self._scheduler.headless(missing=missing):
            self.assign(assignment)
        self.teams.gather()

    def ended(self, slot: SlotClient, sequence: int, frame: Frame, seconds: float, how: int) -> None:
        """A slot reports how a task ended, and the seconds that it took."""
        with self.lock:
            task = slot.release(sequence)
            if task is None:
                return  # sent a second time after a reconnection
            self._tasks.pop(task.number, None)  # ours to finish from here on, whoever closes the pool meanwhile
            if task.number in self._perhaps:
                self._started(task, slot.key)
            assignment = self._scheduler.finished(task.number, slot.key)
            if assignment is not None:
                self.assign(assignment)
            task.seconds = seconds
            self._pace.learn(task.encoded.digest, seconds)
            if assignment is None and self._tasks and not self._checking:
                self._look_for_waiting()
            self._leaving.mind()
            if TaskStarted in self._events.wanted:
                held = self._scheduler.held(slot.key)
                if held and self._scheduler.is_asked_back(held[0]):
                    self._perhaps.add(held[0])  # its start is told with the answer
                elif held and (assignment is None or held[0] != assignment.task):
                    self._started(self._tasks[held[0]], slot.key)
            self.teams.gather()
        if frame.kind == Kind.FAILURE:
            task.fail(frame, how)
            self.finish(task)
        else:
            task.frame = frame
            self.finish(task)

    def slot_died(
        self, key: SlotKey, facts: dict[str, Any], *, running: list[Task], unstarted: list[Task], unknown: list[Task]
    ) -> None:
        """A slot's process is dead. Called with the lock held."""
        self._up.pop(key, None)
        self._scheduler.slot_down(key)
        self._mind_head()
        self._leaving.mind()
        killed = was_killed(facts)
        for task in running:
            ended = task.cancelled and killed
            self._retry_or_fail(task, _deaths.was_cancelled(task) if ended else _deaths.slot_died(task, key, facts))
        for task in unknown:
            self._retry_or_fail(task, _deaths.outcome_unknown(task, key))
        if unstarted and not running and not was_renewed(facts) and self._brings_bad_luck(unstarted[0]):
            self.finish(unstarted[0], _deaths.slot_died(unstarted.pop(0), key, facts))
        for task in reversed(unstarted):
            if task.shares_fate:
                ended = task.cancelled  # and has not begun
                self.teams.lost(task, _deaths.was_cancelled(task) if ended else _deaths.slot_died(task, key, facts))
            else:
                self._put_back(task)

    def _brings_bad_luck(self, task: Task) -> bool:
        """Whether one slot after the other dies when this task is to begin: of its arguments' size, as a rule."""
        self._victims[task.number] = self._victims.get(task.number, 0) + 1
        return self._victims[task.number] >= _VICTIMS

    def unknown(self, key: SlotKey, task: Task) -> None:
        """A slot that was connected again knows nothing of a task that it had started. Called with the lock held."""
        self.assign(self._scheduler.finished(task.number, key))
        self.teams.gather()
        self._leaving.mind()
        self._retry_or_fail(task, _deaths.outcome_unknown(task, key))

    def recalled(self, slot: SlotClient, sequence: int, *, agreed: bool) -> None:
        """The answer to a request to give a task back."""
        with self.lock:
            self._leaving.mind()
            task = slot.release(sequence) if agreed else None
            if task is None:
                begun = None if agreed else slot.holds(sequence)
                if begun is not None:  # it began before it could be taken back
                    self._scheduler.taken_back(begun.number, slot.key, agreed=False)
                    if begun.number in self._perhaps:
                        self._started(begun, slot.key)
                    if begun.cancelled:
                        self.nodes[slot.key[0]].cancel(slot.key[1], sequence)
                return
            self._perhaps.discard(task.number)
            if task.cancelled:
                self.assign(self._scheduler.drop(task.number, slot.key))
                self.finish(task, _deaths.was_cancelled(task))
                return
            self.assign(self._scheduler.taken_back(task.number, slot.key, agreed=True))

    def reconnect(self, slot: SlotClient, error: Exception | None) -> None:
        """A slot's link has ended."""
        _log.debug("the link to slot %s ended: %s", slot.key, error)
        node = self.nodes.get(slot.key[0])
        if node is not None and slot in node.slots and self.closed is None:
            node.reattach(slot)

    def node_leaves(self, node: Node) -> None:
        """A machine will be taken back. Called with the lock held."""
        if self.nodes.get(node.index) is node and self.closed is None:
            self._leaving.begin(node)
            self._mind_head()
            self._leaving.mind()

    def node_lost(self, node: Node, why: str, *, replaceable: bool = True) -> None:
        """A machine is gone, with what it held; unless it is not ``replaceable``, another one may come in its place."""
        with self.lock:
            if self.nodes.get(node.index) is not node:
                return
            del self.nodes[node.index]
            if self.closed is not None:
                return
            self._cut = self._cut or why == _deaths.DEADLINE
            why = self._leaving.lost(node, why, tell=replaceable)
            held: list[Task] = []
            for slot in node.slots:
                self._up.pop(slot.key, None)
                self._scheduler.slot_down(slot.key)
                held += slot.close()
            if replaceable and self.on_node_lost(node, why):
                self._expected.add(node.index)
            self._mind_head()
            for task in held:
                self._retry_or_fail(
                    task, _deaths.cut_off(task, self.time_limit) if self._cut else _deaths.node_lost(task, node, why)
                )
            self._fail_homeless(node.index)

    def give_up(self, index: int) -> None:
        """No machine will come in the place of one that was lost."""
        with self.lock:
            self._expected.discard(index)
            self._mind_head()
            self._fail_homeless(index)

    def _fail_homeless(self, index: int) -> None:
        """Fail the tasks that wait for a machine that will not come."""
        if index in self._expected:
            return
        homeless = self._scheduler.drain(index) if self.has_place(None) else self._scheduler.drain()
        for number in homeless:
            task = self._tasks[number]
            self.finish(task, self.no_node(task, index if task.shares_fate else task.node))
        self.teams.gather()

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call ``function`` on the thread that frames arrive on."""
        self._reactor.call_later(seconds, function)

    # inside

    def assign(self, assignment: Assignment | None) -> None:
        """Send what the scheduler has decided to send."""
        if assignment is None:
            return
        task = self._tasks[assignment.task]
        key = assignment.slot
        task.place = key
        if task.on_start is not None:
            task.on_start()
        if not assignment.ahead and TaskStarted in self._events.wanted:
            self._started(task, key)  # before it is sent: its first line of output may be here before `send` returns
        self.nodes[key[0]].slots[key[1]].send(task, ahead=assignment.ahead)

    def _started(self, task: Task, key: SlotKey) -> None:
        self._perhaps.discard(task.number)
        task.started = time.monotonic()
        self._events.emit(TaskStarted(task.number, task.name, key[0], key[1], self.nodes[key[0]].instance.id))

    def finish(self, task: Task, error: BaseException | None = None) -> None:
        """A task has ended. Whoever waits for it is told."""
        if error is not None:
            task.error = error
        self._tasks.pop(task.number, None)
        if self._perhaps:
            self._perhaps.discard(task.number)
        if self._victims:
            self._victims.pop(task.number, None)
        if TaskCompleted in self._events.wanted:
            node, slot = task.place
            instance = self._id_of(node)
            said = None if task.error is None else said_by(task.error)
            self._events.emit(
                TaskCompleted(task.number, task.name, node, slot, instance, task.seconds, said is None, said)
            )
        if task.on_done is not None:
            task.on_done(task)

    def _retry_or_fail(self, task: Task, error: TaskError) -> None:
        if task.shares_fate:
            self.teams.lost(task, error)
        elif task.cancelled:
            self.finish(task, _deaths.was_cancelled(task))
        elif task.retries > 0 and self.closed is None and self.has_place(task.node):
            task.retries -= 1
            _log.info("%s runs again: %s", task.name, error)
            self._put_back(task)
        else:
            self.finish(task, error)

    def _put_back(self, task: Task) -> None:
        if task.cancelled:
            self.finish(task, _deaths.was_cancelled(task))
        else:
            self.assign(self._scheduler.requeue(task.number, task.node))

    def _may_go_ahead(self, number: int) -> bool:
        return self._pace.is_brief(self._tasks[number].encoded.digest)

    def _look_for_waiting(self) -> None:
        """A slot has nothing to do: see in a moment whether a task waits behind another one."""
        if self._scheduler.any_ahead:
            self._checking = True
            self._reactor.call_later(_TAKE_BACK_AFTER, self._take_back)

    def _take_back(self) -> None:
        with self.lock:
            self._checking = False
            for number, key in self._scheduler.to_take_back():
                sequence = self.nodes[key[0]].slots[key[1]].sequence_of(self._tasks[number])
                if sequence is not None:
                    self.nodes[key[0]].recall(key[1], sequence)

    def no_node(self, task: Task, node: int | None) -> PoolTimeout | NodeLost:
        """Why a task has no place: this node, or every one, is gone and will not be replaced."""
        if self._cut:
            return _deaths.cut_off(task, self.time_limit)
        which = "the pool has no machine left" if node is None else f"node {node} is gone"
        return NodeLost(f"{which}: its end is in the log above; open a new pool to go on", node=node)
