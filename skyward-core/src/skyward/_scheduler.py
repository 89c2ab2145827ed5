"""Which task goes to which slot: events in, assignments out. Pure, without locks, clocks or I/O.

Idle slots are taken in round-robin order over the nodes. When none is idle, a slot may be given one task ahead, so
that it does not wait for the network between two short tasks; whether that is worth it the caller says per task
(``ahead``). A task that waits behind another one on a slot is taken back as soon as a slot has nothing to do, so a
busy slot never delays a task that another one could take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

__all__ = ["Assignment", "Scheduler", "SlotKey"]

type SlotKey = tuple[int, int]
"""(node, slot)"""


class Assignment(NamedTuple):
    """Send this task to this slot; ``ahead`` when another one is still running there."""

    task: int
    slot: SlotKey
    ahead: bool


class Scheduler:
    """Keeps what waits, what runs where, and which slots are idle.

    Args:
        may_go_ahead: whether a task may be sent to a busy slot, to run after the present one.
    """

    def __init__(self, may_go_ahead: Callable[[int], bool] = lambda _: True) -> None:
        self._may_go_ahead = may_go_ahead
        self._idle: deque[SlotKey] = deque()
        self._held: dict[SlotKey, list[int]] = {}
        self._single: dict[SlotKey, None] = {}  # slots that hold one task, so that one more may be sent ahead
        self._queue: deque[int] = deque()
        self._pinned: dict[int, deque[int]] = {}
        self._node_of: dict[int, int] = {}
        self._taking_back: set[int] = set()

    @property
    def waiting(self) -> int:
        """Number of tasks that no slot holds."""
        return len(self._queue) + sum(map(len, self._pinned.values()))

    def held(self, slot: SlotKey) -> Sequence[int]:
        """Tasks that a slot holds: the running one, then the one sent ahead."""
        return self._held.get(slot, ())

    def submit(self, task: int, node: int | None = None) -> Assignment | None:
        """A new task, for any slot or for a slot of one node."""
        if node is not None:
            self._node_of[task] = node
            slot = next((slot for slot in self._idle if slot[0] == node), None)
            if slot is not None:
                self._idle.remove(slot)
                return self._assign(task, slot)
            self._pinned.setdefault(node, deque()).append(task)
            return self._ahead_on([key for key in self._single if key[0] == node])
        if self._idle:
            return self._assign(task, self._idle.popleft())
        self._queue.append(task)
        return self._ahead_on(self._single)

    def finished(self, task: int, slot: SlotKey) -> Assignment | None:
        """A slot has reported the end of a task."""
        held = self._held.get(slot)
        if held is None or task not in held:
            return None
        self._release(task, slot)
        self._forget(task)
        return self._refill(slot)

    def slot_up(self, slot: SlotKey) -> Assignment | None:
        """A slot is there and empty."""
        self._held[slot] = []
        return self._refill(slot)

    def slot_down(self, slot: SlotKey) -> list[int]:
        """A slot is gone; returns the tasks that it held, the running one first."""
        held = self._held.pop(slot, [])
        self._single.pop(slot, None)
        if slot in self._idle:
            self._idle.remove(slot)
        self._taking_back.difference_update(held)
        return held

    def requeue(self, task: int) -> Assignment | None:
        """A task that was on a slot and did not run there goes to the front of its queue, or to an idle slot."""
        self._taking_back.discard(task)
        node = self._node_of.get(task)
        for slot in self._idle:
            if node is None or slot[0] == node:
                self._idle.remove(slot)
                return self._assign(task, slot)
        (self._queue if node is None else self._pinned.setdefault(node, deque())).appendleft(task)
        return None

    def to_take_back(self) -> list[tuple[int, SlotKey]]:
        """Tasks that wait behind another one although a slot that could run them is idle."""
        found: list[tuple[int, SlotKey]] = []
        idle = deque(self._idle)
        for slot, held in self._held.items():
            for task in held[1:]:
                if task in self._taking_back:
                    continue
                node = self._node_of.get(task)
                free = next((key for key in idle if node is None or key[0] == node), None)
                if free is not None:
                    idle.remove(free)
                    self._taking_back.add(task)
                    found.append((task, slot))
        return found

    def taken_back(self, task: int, slot: SlotKey, *, agreed: bool) -> Assignment | None:
        """The slot's answer to a request to give a task back."""
        self._taking_back.discard(task)
        held = self._held.get(slot)
        if not agreed or held is None or task not in held:
            return None
        self._release(task, slot)
        return self.requeue(task)

    def withdraw(self, task: int) -> bool:
        """Forget a task that no slot holds; False when one does, or when it is unknown."""
        node = self._node_of.get(task)
        queue = self._queue if node is None else self._pinned.get(node, deque())
        if task not in queue:
            return False
        queue.remove(task)
        self._forget(task)
        return True

    def drop(self, task: int, slot: SlotKey) -> Assignment | None:
        """A task that a slot gave back is not to run anywhere else."""
        return self.finished(task, slot)

    def drain(self, node: int | None = None) -> list[int]:
        """Remove and return the tasks that wait: all of them, or those for one node."""
        if node is not None:
            tasks = list(self._pinned.pop(node, ()))
        else:
            tasks = [*self._queue, *(task for queue in self._pinned.values() for task in queue)]
            self._queue.clear()
            self._pinned.clear()
        for task in tasks:
            self._forget(task)
        return tasks

    def locate(self, task: int) -> SlotKey | None:
        """The slot that holds a task."""
        return next((slot for slot, held in self._held.items() if task in held), None)

    def _forget(self, task: int) -> None:
        self._node_of.pop(task, None)
        self._taking_back.discard(task)

    def _assign(self, task: int, slot: SlotKey) -> Assignment:
        held = self._held[slot]
        held.append(task)
        if len(held) == 1:
            self._single[slot] = None
        else:
            self._single.pop(slot, None)
        return Assignment(task, slot, len(held) > 1)

    def _release(self, task: int, slot: SlotKey) -> None:
        held = self._held[slot]
        held.remove(task)
        if held:
            self._single[slot] = None
        else:
            self._single.pop(slot, None)

    def _refill(self, slot: SlotKey) -> Assignment | None:
        """Give a slot that has just become free, or freer, what waits for it."""
        pinned = self._pinned.get(slot[0])
        queue = pinned or self._queue
        held = self._held[slot]
        if queue and (not held or (len(held) == 1 and self._may_go_ahead(queue[0]))):
            return self._assign(queue.popleft(), slot)
        if not held:
            self._idle.append(slot)
        return None

    def _ahead_on(self, slots: Iterable[SlotKey]) -> Assignment | None:
        """Send the task at the head of a queue ahead to a slot that holds one only."""
        slot = next(iter(slots), None)
        return None if slot is None else self._refill(slot)
