"""Brings tasks, slots and the scheduler together. One lock; no waiting under it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skyward import _deaths
from skyward._leaving import Leaving
from skyward._scheduler import Assignment, Scheduler, SlotKey
from skyward.errors import NodeLost, PoolTimeout, UsageError
from skyward.model.events import LogLine, Metrics, SkywardEvent, TaskCompleted, TaskStarted
from skyward.worker.protocol import Frame, Kind

if TYPE_CHECKING:
    from skyward._events import EventBus
    from skyward._node import Node
    from skyward._reactor import Reactor
    from skyward._slot import SlotClient
    from skyward._task import Task

__all__ = ["Dispatcher"]

_log = logging.getLogger("skyward.tasks")

_BRIEF = 0.02
"""Seconds. Only a function that has run for less than this on average is sent ahead to a busy slot: for a longer one
the network's delay between two tasks is no matter, while waiting behind it would be, and it could not be withdrawn."""
_VICTIMS = 3
"""As many slots may die with a task that has not begun; then the task fails."""
_TAKE_BACK_AFTER = 0.002
"""Seconds that a task may wait behind another one while a slot is idle, before it is asked back."""


class Dispatcher:
    """The tasks of one pool. Every method may be called from any thread."""

    def __init__(self, events: EventBus, reactor: Reactor) -> None:
        self.lock = threading.RLock()
        self.nodes: dict[int, Node] = {}
        self._events = events
        self._reactor = reactor
        self._scheduler = Scheduler(self._may_go_ahead)
        self._tasks: dict[int, Task] = {}
        self._leaving = Leaving(self, self._scheduler, self._tasks, events)
        self._pace: dict[bytes, float] = {}
        self._up: dict[SlotKey, None] = {}
        self._checking = False
        self._closed: str | None = None
        self._expected: set[int] = set()
        self._cut = False  # whether a machine has reached the pool's time limit
        self.time_limit = "timeout"  # the parameter from which that limit follows
        self._victims: dict[int, int] = {}  # task -> slots that died when it was the next to run there
        reactor.busy = self._tasks.__len__
        self.on_node_lost: Callable[[Node, str], bool] = lambda _node, _why: False

    # from the pool

    def submit(self, tasks: Sequence[Task]) -> None:
        """Have tasks run; each one's ``on_done`` is called when it has ended."""
        with self.lock:
            if self._closed is not None:
                for task in tasks:
                    self._finish(task, UsageError(self._closed))
                return
            for task in tasks:
                if not (self.nodes and task.node is None) and not self._has_place(task.node):
                    self._finish(task, self._no_node(task))
                    continue
                self._tasks[task.number] = task
                self._assign(self._scheduler.submit(task.number, task.node))

    def _has_place(self, node: int | None) -> bool:
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
                    self._finish(task, _deaths.was_cancelled(task))
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
            self._closed = why
            for task in list(self._tasks.values()):
                self._finish(task, UsageError(why))
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
            self._assign(self._scheduler.slot_up(slot.key))
        self._mind_head()
        self.nodes[slot.key[0]].slot_ready()

    def slot_away(self, slot: SlotClient) -> None:
        """A slot is out of reach: what could be sent to it goes to others. Called with the lock held."""
        self._scheduler.slot_away(slot.key)
        self._mind_head()

    def slot_back(self, slot: SlotClient) -> None:
        """A slot that was out of reach has been connected again. Called with the lock held."""
        if self.nodes.get(slot.key[0]) not in self._leaving:
            self._assign(self._scheduler.slot_back(slot.key))
        self._mind_head()
        if not self._checking:
            self._look_for_waiting()

    def _mind_head(self) -> None:
        """Have the copies of a broadcast wait while node 0 is replaced or away, so that all know the same one.

        When it takes tasks, the others have been told where it is.
        """
        missing = self._has_place(0) and not self._scheduler.in_reach(0)
        for assignment in self._scheduler.headless(missing=missing):
            self._assign(assignment)

    def ended(self, slot: SlotClient, sequence: int, frame: Frame, seconds: float, how: int) -> None:
        """A slot reports how a task ended, and the seconds that it took."""
        with self.lock:
            task = slot.release(sequence)
            if task is None:
                return  # sent a second time after a reconnection
            self._tasks.pop(task.number, None)  # ours to finish from here on, whoever closes the pool meanwhile
            assignment = self._scheduler.finished(task.number, slot.key)
            if assignment is not None:
                self._assign(assignment)
            task.seconds = seconds
            self._learn(task)
            if assignment is None and self._tasks and not self._checking:
                self._look_for_waiting()
            self._leaving.mind()
            if TaskStarted in self._events.wanted:
                held = self._scheduler.held(slot.key)
                if held and (assignment is None or held[0] != assignment.task):
                    self._started(self._tasks[held[0]], slot.key)
        if frame.kind == Kind.FAILURE:
            task.fail(frame, how)
            self._finish(task)
        else:
            task.frame = frame
            self._finish(task)

    def slot_died(
        self, key: SlotKey, facts: dict[str, Any], *, running: list[Task], unstarted: list[Task], unknown: list[Task]
    ) -> None:
        """A slot's process is dead. Called with the lock held."""
        self._up.pop(key, None)
        self._scheduler.slot_down(key)
        self._mind_head()
        self._leaving.mind()
        for task in running:
            self._retry_or_fail(task, _deaths.slot_died(task, key, facts))
        for task in unknown:
            self._retry_or_fail(task, _deaths.outcome_unknown(task, key))
        if unstarted and not running and self._brings_bad_luck(unstarted[0]):
            self._finish(unstarted[0], _deaths.slot_died(unstarted.pop(0), key, facts))
        for task in reversed(unstarted):
            self._put_back(task)

    def _brings_bad_luck(self, task: Task) -> bool:
        """Whether one slot after the other dies when this task is to begin: of its arguments' size, as a rule."""
        self._victims[task.number] = self._victims.get(task.number, 0) + 1
        return self._victims[task.number] >= _VICTIMS

    def unknown(self, key: SlotKey, task: Task) -> None:
        """A slot that was connected again knows nothing of a task that it had started. Called with the lock held."""
        self._assign(self._scheduler.finished(task.number, key))
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
                    if begun.cancelled:
                        self.nodes[slot.key[0]].cancel(slot.key[1], sequence)
                return
            if task.cancelled:
                self._assign(self._scheduler.drop(task.number, slot.key))
                self._finish(task, _deaths.was_cancelled(task))
                return
            self._assign(self._scheduler.taken_back(task.number, slot.key, agreed=True))

    def reconnect(self, slot: SlotClient, error: Exception | None) -> None:
        """A slot's link has ended."""
        _log.debug("the link to slot %s ended: %s", slot.key, error)
        node = self.nodes.get(slot.key[0])
        if node is not None and slot in node.slots and self._closed is None:
            node.reattach(slot)

    def node_leaves(self, node: Node) -> None:
        """A machine will be taken back. Called with the lock held."""
        if self.nodes.get(node.index) is node and self._closed is None:
            self._leaving.begin(node)
            self._mind_head()
            self._leaving.mind()

    def node_lost(self, node: Node, why: str, *, replaceable: bool = True) -> None:
        """A machine is gone, with what it held; unless it is not ``replaceable``, another one may come in its place."""
        with self.lock:
            if self.nodes.get(node.index) is not node:
                return
            del self.nodes[node.index]
            if self._closed is not None:
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
        homeless = self._scheduler.drain(index) if self._has_place(None) else self._scheduler.drain()
        for number in homeless:
            task = self._tasks[number]
            self._finish(task, self._no_node(task))

    def logged(self, node: int, number: int, head: Sequence[Any]) -> None:
        """A line of output has come from a node."""
        if self._events.wants(LogLine):
            line, stream, timestamp, slot, _ = head
            self._events.emit(
                LogLine(node, self._id_of(node), line, timestamp, stream=stream, task_id=number or None, slot=slot)
            )

    def measured(self, node: int, sample: dict[str, Any]) -> None:
        """A node has measured itself."""
        if self._events.wants(Metrics) and (instance := self._id_of(node)):
            self._events.emit(Metrics(instance_id=instance, node=node, **sample))

    def emitted(self, frame: Frame) -> None:
        """User code on a node has emitted an event."""
        from skyward import _codec

        try:
            event: SkywardEvent = _codec.decode(frame.buffers[0], frame.buffers[1:])
        except Exception:  # noqa: BLE001  unpickling runs the user's own code
            _log.exception("an event that was emitted on a node cannot be unpickled here")
            return
        self._events.emit(event)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call ``function`` on the thread that frames arrive on."""
        self._reactor.call_later(seconds, function)

    # inside

    def _id_of(self, index: int) -> str:
        """The machine that is a node now; empty when it is gone, which another thread may find at any time."""
        node = self.nodes.get(index)
        return "" if node is None else node.instance.id

    def _assign(self, assignment: Assignment | None) -> None:
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
        task.started = time.monotonic()
        self._events.emit(TaskStarted(task.number, task.name, key[0], key[1], self.nodes[key[0]].instance.id))

    def _finish(self, task: Task, error: BaseException | None = None) -> None:
        """A task has ended. Whoever waits for it is told."""
        if error is not None:
            task.error = error
        self._tasks.pop(task.number, None)
        if self._victims:
            self._victims.pop(task.number, None)
        if TaskCompleted in self._events.wanted:
            node, slot = task.place
            instance = self._id_of(node)
            said = None if task.error is None else f"{type(task.error).__name__}: {task.error}"
            self._events.emit(
                TaskCompleted(task.number, task.name, node, slot, instance, task.seconds, said is None, said)
            )
        if task.on_done is not None:
            task.on_done(task)

    def _retry_or_fail(self, task: Task, error: BaseException) -> None:
        if task.cancelled:
            self._finish(task, _deaths.was_cancelled(task))
        elif task.retries > 0 and self._closed is None and self._has_place(task.node):
            task.retries -= 1
            _log.info("%s runs again: %s", task.name, error)
            self._put_back(task)
        else:
            self._finish(task, error)

    def _put_back(self, task: Task) -> None:
        if task.cancelled:
            self._finish(task, _deaths.was_cancelled(task))
        else:
            self._assign(self._scheduler.requeue(task.number, task.node))

    def _may_go_ahead(self, number: int) -> bool:
        return self._pace.get(self._tasks[number].encoded.digest, _BRIEF) < _BRIEF

    def _learn(self, task: Task) -> None:
        digest = task.encoded.digest
        known = self._pace.get(digest)
        self._pace[digest] = task.seconds if known is None else 0.8 * known + 0.2 * task.seconds
        if len(self._pace) > 1024:  # functions that a program defines afresh again and again
            self._pace.pop(next(iter(self._pace)))

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

    def _no_node(self, task: Task) -> PoolTimeout | NodeLost:
        if self._cut:
            return _deaths.cut_off(task, self.time_limit)
        which = "the pool has no machine left" if task.node is None else f"node {task.node} is gone"
        return NodeLost(f"{which}: its end is in the log above; open a new pool to go on", node=task.node)
