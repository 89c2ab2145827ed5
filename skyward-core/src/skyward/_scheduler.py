"""Which task goes to which slot: events in, assignments out. Pure, without locks, clocks or I/O.

Nodes take turns, so that idle slots are used round-robin over the nodes. When no slot is idle, one may be given one
task ahead, so that it does not wait for the network between two short tasks; whether that is worth it the caller says
per task (``may_go_ahead``). A task that waits behind another one on a slot is taken back as soon as a slot has nothing
to do, so a busy slot never delays a task that another one could take.

A slot may be away: out of reach for a time, with what it holds. It is given nothing until it is back. Tasks of one node
stand for the copies of a broadcast, which meet at node 0: while that one is missing, those of the others wait for it.

Tasks may have to begin together, each on a slot of its own (`skyward._gangs`). While some wait, or a slot comes or
goes, `gather` is to be called after each event.

Every event costs the same however many tasks wait. The queues are `OrderedDict`, because it alone takes from either
end and from the middle at that cost: a `deque` searches, and a `dict` walks over what was removed at its front.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from skyward._gangs import Gangs, SlotKey

__all__ = ["Assignment", "Scheduler", "SlotKey"]


class Assignment(NamedTuple):
    """Send this task to this slot; ``ahead`` when another one is still running there."""

    task: int
    slot: SlotKey
    ahead: bool


class Scheduler:
    """Keeps what waits, what runs where, and which slots are idle.

    A task is a number that its caller chooses. It is known from `submit` until `finished`, `withdraw`, `drop` or
    `drain`; those that `slot_down` returns are forgotten unless they are given back with `requeue`.

    Args:
        may_go_ahead: whether a task may be sent to a busy slot, to run after the present one.
    """

    def __init__(self, may_go_ahead: Callable[[int], bool] = lambda _: True) -> None:
        self._may_go_ahead = may_go_ahead
        self._held: dict[SlotKey, list[int]] = {}
        self._place: dict[int, SlotKey] = {}  # the slot of each task that is on one
        self._pin: dict[int, int] = {}  # the node of each task that may run on one node only
        self._slots: dict[int, list[SlotKey]] = {}  # the slots of each node
        self._away: set[SlotKey] = set()  # slots that are out of reach: neither idle nor to be sent one task more
        self._idle: OrderedDict[int, list[SlotKey]] = OrderedDict()  # idle slots of the nodes that have any, in turn
        self._single: OrderedDict[SlotKey, None] = OrderedDict()  # slots with one task, so that one more may be sent
        self._queue: OrderedDict[int, int] = OrderedDict()  # with the gangs that came before, see `Gangs.count`
        self._pinned: dict[int, OrderedDict[int, int]] = {}
        self._gangs = Gangs()
        self._asked_back: set[int] = set()
        self._headless = False

    @property
    def waiting(self) -> int:
        """Number of tasks that no slot holds."""
        together = sum(map(len, self._gangs.waiting.values()))
        return len(self._queue) + sum(map(len, self._pinned.values())) + together

    def held(self, slot: SlotKey) -> Sequence[int]:
        """Tasks that a slot holds: the running one, then the one sent ahead."""
        return self._held.get(slot, ())

    @property
    def any_ahead(self) -> bool:
        """Whether a task waits behind another one on a slot."""
        if len(self._place) < 2:
            return False
        empty = sum(map(len, self._idle.values())) + len(self._gangs.reserved)
        if self._away:
            empty += sum(not self._held[slot] for slot in self._away)
        return len(self._place) > len(self._held) - empty

    def in_reach(self, node: int) -> bool:
        """Whether a node has a slot that is not away."""
        return any(slot not in self._away for slot in self._slots.get(node, ()))

    def locate(self, task: int) -> SlotKey | None:
        """The slot that holds a task."""
        return self._place.get(task)

    # tasks

    def submit(self, task: int, node: int | None = None) -> Assignment | None:
        """A new task, for any slot or for a slot of one node.

        The assignment may be of a task that has waited longer.
        """
        gangs = self._gangs
        if node is None:
            if self._idle and not gangs.waiting:
                return self._assign(task, self._take_idle(next(iter(self._idle))))
            self._queue[task] = gangs.count
            slot = next(iter(self._single), None)
        else:
            self._pin[task] = node
            if node in self._idle and not (gangs.waiting or (self._headless and node)):
                return self._assign(task, self._take_idle(node))
            self._pinned.setdefault(node, OrderedDict())[task] = gangs.count
            slot = next((slot for slot in self._slots.get(node, ()) if slot in self._single), None)
        if gangs.waiting and (found := self._offer(node)) is not None:
            return found
        return None if slot is None else self._refill(slot)

    def finished(self, task: int, slot: SlotKey) -> Assignment | None:
        """A slot has reported the end of a task."""
        if self._place.get(task) != slot:
            return None
        self._release(task, slot)
        self._pin.pop(task, None)
        return self._refill(slot)

    def drop(self, task: int, slot: SlotKey) -> Assignment | None:
        """A task that a slot gave back is not to run anywhere else."""
        return self.finished(task, slot)

    def requeue(self, task: int, node: int | None) -> Assignment | None:
        """A task that was on a slot and did not run there goes to an idle slot, or to the front of its queue."""
        gangs = self._gangs
        if node is None:
            if self._idle and not gangs.waiting:
                return self._assign(task, self._take_idle(next(iter(self._idle))))
            queue = self._queue
        else:
            self._pin[task] = node
            if node in self._idle and not (gangs.waiting or (self._headless and node)):
                return self._assign(task, self._take_idle(node))
            queue = self._pinned.setdefault(node, OrderedDict())
        queue[task] = 0
        queue.move_to_end(task, last=False)
        return self._offer(node) if gangs.waiting else None

    def withdraw(self, task: int) -> bool:
        """Forget a task that no slot holds; False when one does, or when it is unknown."""
        node = self._pin.get(task)
        queue = self._queue if node is None else self._pinned.get(node)
        if queue is None or task not in queue:
            return False
        del queue[task]
        self._unpin([task])
        return True

    def drain(self, node: int | None = None) -> list[int]:
        """Remove and return the tasks that wait: all of them, or those for one node."""
        if node is None:
            tasks = [*self._queue, *(task for queue in self._pinned.values() for task in queue)]
            tasks += self._gangs.remove(None)
            self._queue.clear()
            self._pinned.clear()
        else:
            tasks = [*self._pinned.pop(node, ()), *self._gangs.remove(node)]
        self._unpin(tasks)
        return tasks

    # slots

    def slot_up(self, slot: SlotKey) -> Assignment | None:
        """A slot is there and empty. One that is there already is left as it is."""
        if slot in self._held:
            return None
        self._held[slot] = []
        self._slots.setdefault(slot[0], []).append(slot)
        return self._refill(slot)

    def slot_down(self, slot: SlotKey) -> list[int]:
        """A slot is gone; returns the tasks that it held, the running one first. They are known no longer."""
        held = self._held.pop(slot, None)
        if held is None:
            return []
        node = slot[0]
        _discard(self._slots, node, slot)
        _discard(self._idle, node, slot)
        self._single.pop(slot, None)
        self._gangs.reserved.pop(slot, None)
        self._gangs.running.difference_update(held)
        self._away.discard(slot)
        for task in held:
            del self._place[task]
        self._asked_back.difference_update(held)
        self._unpin(held)
        return held

    def slot_away(self, slot: SlotKey) -> None:
        """A slot is out of reach, with what it holds: it is given nothing more until it is back, or up anew."""
        if slot in self._held:
            self._away.add(slot)
            _discard(self._idle, slot[0], slot)
            self._single.pop(slot, None)
            self._gangs.reserved.pop(slot, None)

    def slot_back(self, slot: SlotKey) -> Assignment | None:
        """A slot that was away can be reached again."""
        if slot not in self._away:
            return None
        self._away.remove(slot)
        held = self._held[slot]
        if len(held) == 1:
            if held[0] in self._gangs.running:
                return None
            self._single[slot] = None
        return self._refill(slot) if len(held) < 2 else None

    def headless(self, *, missing: bool) -> list[Assignment]:
        """Whether node 0 is missing, for which the tasks of each other node wait; once it is not, where they go."""
        changed, self._headless = self._headless != missing, missing
        if missing or not changed:
            return []
        self._gangs.claimant = None  # what waited for the head went before it until now
        found: list[Assignment] = []
        waiting = self._gangs.waiting
        for node, queue in self._pinned.items():
            while node and queue and node in self._idle and (not waiting or self._gangs.follow(queue)):
                found.append(self._assign(queue.popitem(last=False)[0], self._take_idle(node)))
        return found

    # tasks that begin together

    def submit_together(self, tasks: Mapping[SlotKey, int]) -> int:
        """New tasks, one for each of these slots, of which none is to begin before all can; returns their gang."""
        return self._gangs.add(tasks)

    def withdraw_together(self, gang: int) -> bool:
        """Forget a gang that waits; False when its tasks are on slots, or when it is unknown."""
        return self._gangs.waiting.pop(gang, None) is not None

    @property
    def gathers(self) -> bool:
        """Whether a gang waits, or did at the last time."""
        return bool(self._gangs.waiting) or self._gangs.turn is not None

    def gather(self) -> list[Assignment]:
        """What goes where now that slots have come or gone, or are kept for a gang or for one no longer.

        The tasks of a gang come side by side, all of them. Nothing is sent ahead behind one.
        """
        found: list[Assignment] = []
        gangs = self._gangs
        while gangs.waiting or gangs.turn is not None:
            turn, tasks = gangs.first()
            there = all(slot in self._held and slot not in self._away for slot in tasks)
            claimant = turn if there else None
            if (turn, claimant) != (gangs.turn, gangs.claimant):  # other tasks may go now, or have to wait
                gangs.turn, gangs.claimant = turn, claimant
                free = [*gangs.reserved, *(slot for slots in self._idle.values() for slot in slots)]
                gangs.reserved.clear()
                self._idle.clear()
                found.extend(filter(None, map(self._refill, free)))
            if claimant is None or len(gangs.reserved) < len(tasks):
                break
            del gangs.waiting[claimant]
            gangs.reserved.clear()
            for slot, task in tasks.items():
                found.append(self._assign(task, slot))
                del self._single[slot]
                gangs.running.add(task)
        return found

    def _offer(self, node: int | None) -> Assignment | None:
        """While a gang waits: have an empty slot, of a node or of any, look at what may go before the gang."""
        if node is not None or self._idle:
            idle = next(iter(self._idle)) if node is None else node
            if idle in self._idle and (found := self._refill(self._take_idle(idle))) is not None:
                return found
        kept = next((slot for slot in self._gangs.reserved if node in (None, slot[0])), None)
        if kept is None:
            return None
        del self._gangs.reserved[kept]
        return self._refill(kept)

    # taking back

    def to_take_back(self) -> list[tuple[int, SlotKey]]:
        """Tasks that wait behind another one although a slot that could run them is idle.

        Each is returned once, until the slot's answer is told to `taken_back`.
        """
        found: list[tuple[int, SlotKey]] = []
        if not self._idle:
            return found
        free = {node: len(slots) for node, slots in self._idle.items()}
        for task in self._asked_back:  # for each of these a slot is kept free already, unless its answer cannot come
            if self._place[task] not in self._away:
                self._book(free, self._pin.get(task))
        for slot, held in self._held.items():
            if not free:
                break
            if slot in self._away:
                continue
            for task in held[1:]:
                if task not in self._asked_back and self._book(free, self._pin.get(task)):
                    self._asked_back.add(task)
                    found.append((task, slot))
        return found

    def is_asked_back(self, task: int) -> bool:
        """Whether a slot was asked to give this task back, and has not answered yet."""
        return task in self._asked_back

    @staticmethod
    def _book(free: dict[int, int], node: int | None) -> bool:
        """Take one slot off the free ones, of this node or of any; False when there is none."""
        if node is None:
            node = next(iter(free), None)
        if node is None or node not in free:
            return False
        free[node] -= 1
        if not free[node]:
            del free[node]
        return True

    def taken_back(self, task: int, slot: SlotKey, *, agreed: bool) -> Assignment | None:
        """The slot's answer to a request to give a task back."""
        self._asked_back.discard(task)
        if not agreed or self._place.get(task) != slot:
            return None
        self._release(task, slot)
        if not self._held[slot] and slot not in self._away:  # what it waited behind has ended: it is as good as another
            return self._assign(task, slot)
        return self.requeue(task, self._pin.get(task))

    # inside

    def _assign(self, task: int, slot: SlotKey) -> Assignment:
        held = self._held[slot]
        ahead = bool(held)
        held.append(task)
        self._place[task] = slot
        if ahead:
            del self._single[slot]
        else:
            self._single[slot] = None
        return tuple.__new__(Assignment, (task, slot, ahead))  # as its own constructor, in half the time

    def _release(self, task: int, slot: SlotKey) -> None:
        held = self._held[slot]
        held.remove(task)
        del self._place[task]
        self._asked_back.discard(task)
        if self._gangs.running:
            self._gangs.running.discard(task)
        if slot in self._away:
            return
        if held:
            self._single[slot] = None
        else:
            self._single.pop(slot, None)

    def _refill(self, slot: SlotKey) -> Assignment | None:
        """Give a slot that has just become free, or freer, what waits for it."""
        if slot in self._away:
            return None
        pinned = None if self._headless and slot[0] else self._pinned.get(slot[0])
        gangs = self._gangs
        queue = gangs.choose(pinned, self._queue) if gangs.waiting else (pinned or self._queue)
        held = self._held[slot]
        if queue and (not held or self._may_go_ahead(next(iter(queue)))):
            return self._assign(queue.popitem(last=False)[0], slot)
        if not held:
            if gangs.waiting and gangs.claims(slot, self._pinned.get(slot[0])):
                gangs.reserved[slot] = None
            else:
                self._idle.setdefault(slot[0], []).append(slot)
        return None

    def _take_idle(self, node: int) -> SlotKey:
        """An idle slot of a node that has one; the node goes to the end of the turn."""
        slots = self._idle[node]
        slot = slots.pop(0)
        if slots:
            self._idle.move_to_end(node)
        else:
            del self._idle[node]
        return slot

    def _unpin(self, tasks: Sequence[int]) -> None:
        if self._pin:
            for task in tasks:
                self._pin.pop(task, None)


def _discard(table: dict[int, list[SlotKey]], node: int, slot: SlotKey) -> None:
    """Remove a slot from a node's list, and the list when it is empty."""
    slots = table.get(node)
    if slots is not None and slot in slots:
        slots.remove(slot)
        if not slots:
            del table[node]
