"""Tasks that are to begin together, each on a slot of its own: who goes first, and what is kept free for whom. Pure.

All tasks of such a gang are sent in one go, once each of its slots is there, in reach and empty. Two gangs therefore
never hold some slots each and wait for the others' for ever. Gangs go one after the other, and take their turn among
the single tasks by the order of submission:

* A slot that falls idle is kept for the first gang unless a task waits for it that was submitted before.
* While a slot of the first gang is not there (its node is being replaced), nothing is kept for it, and single tasks
  overtake it. The copies of a broadcast, which may wait for each other on their nodes, do not: else some of them would
  run, and the gang would take the slots of the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

__all__ = ["Gangs"]

type SlotKey = tuple[int, int]
"""(node, slot)"""

_NOTHING: Mapping[SlotKey, int] = {}


class Gangs:
    """The gangs that wait, in turn. A gang's number is its place in the order; 1 for the first of all.

    Attributes:
        count: gangs that were ever submitted. A task that waits bears what this was at its submission, so that it came
            before gang ``n`` if it bears less than ``n``.
        waiting: for each gang, the task for each of its slots.
        turn: the first one at the time when that was last looked at; ``None`` if none waited.
        claimant: the gang that slots are kept for; ``None`` while the first one's are not all there.
        reserved: the slots that are kept for it by now.
        running: tasks of gangs that are on slots.
    """

    __slots__ = ("claimant", "count", "reserved", "running", "turn", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting: dict[int, Mapping[SlotKey, int]] = {}
        self.turn: int | None = None
        self.claimant: int | None = None
        self.reserved: dict[SlotKey, None] = {}
        self.running: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.waiting or self.reserved or self.running or self.turn)

    def add(self, tasks: Mapping[SlotKey, int]) -> int:
        """A gang comes to the end of the turn; returns its number."""
        self.count += 1
        self.waiting[self.count] = tasks
        return self.count

    def first(self) -> tuple[int | None, Mapping[SlotKey, int]]:
        """The gang whose turn it is, and its tasks."""
        return next(iter(self.waiting.items()), (None, _NOTHING))

    def choose(
        self, pinned: OrderedDict[int, int] | None, queue: OrderedDict[int, int]
    ) -> OrderedDict[int, int] | None:
        """The queue whose first task may go before the first gang, of those of one node and those of any."""
        if pinned and self.follow(pinned):
            return pinned
        if queue and (self.claimant is None or self.follow(queue)):
            return queue
        return None

    def follow(self, queue: OrderedDict[int, int]) -> bool:
        """Whether the first gang came after the first task of a queue; both must be there."""
        return next(iter(queue.values())) < next(iter(self.waiting))

    def claims(self, slot: SlotKey, pinned: OrderedDict[int, int] | None) -> bool:
        """Whether an idle slot is to be kept: ``pinned`` are the tasks that wait for its node, even if not yet."""
        if self.claimant is None or slot not in self.waiting.get(self.claimant, _NOTHING):
            return False
        return not (pinned and self.follow(pinned))

    def remove(self, node: int | None) -> list[int]:
        """Forget the gangs that need a node, or all; returns their tasks."""
        gone = [turn for turn, tasks in self.waiting.items() if node is None or any(slot[0] == node for slot in tasks)]
        return [task for turn in gone for task in self.waiting.pop(turn).values()]
