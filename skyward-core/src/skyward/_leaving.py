"""Machines that will be taken back: they may end what they run, are given nothing more, and are let go before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from skyward import _deaths
from skyward.model.events import InstancePreempted

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._events import EventBus
    from skyward._node import Node
    from skyward._scheduler import Scheduler
    from skyward._task import Task

__all__ = ["Leaving"]


class Leaving:
    """The nodes of one pool whose machines have said so. Everything is called with the dispatcher's lock held.

    Args:
        dispatcher: whose nodes they are.
        scheduler: its own.
        tasks: its own, by their numbers.
        events: where events go.
    """

    def __init__(
        self, dispatcher: Dispatcher, scheduler: Scheduler, tasks: Mapping[int, Task], events: EventBus
    ) -> None:
        self._dispatcher = dispatcher
        self._scheduler = scheduler
        self._tasks = tasks
        self._events = events
        self._nodes: set[Node] = set()

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def begin(self, node: Node) -> None:
        """Tell of it, give the node nothing more, and ask back what waits there behind another task."""
        assert node.notice is not None
        self._nodes.add(node)
        self._events.emit(InstancePreempted(node.instance.id, node.index, *node.notice))
        for slot in node.slots:
            self._scheduler.slot_away(slot.key)
            for number in self._scheduler.held(slot.key)[1:]:
                if (sequence := slot.sequence_of(self._tasks[number])) is not None:
                    node.recall(slot.key[1], sequence)

    def mind(self) -> None:
        """Soon, once whoever calls this is through, let go of those that hold no task any more."""
        if self._nodes:
            self._dispatcher.later(0.0, self._see_off)

    def _see_off(self) -> None:
        with self._dispatcher.lock:
            for node in list(self._nodes):
                if not any(self._scheduler.held(slot.key) for slot in node.slots):
                    self._dispatcher.node_lost(node, "it will be taken back")
                    node.close()

    def lost(self, node: Node, why: str, *, tell: bool) -> str:
        """A machine is gone; returns why, in the words of its notice if there was one. ``tell``: if there was none."""
        if node not in self._nodes:
            if tell and self._events.wants(InstancePreempted):
                self._events.emit(InstancePreempted(node.instance.id, node.index, why))
            return why
        self._nodes.remove(node)
        return why if node.notice is None or why == _deaths.DEADLINE else node.notice[0]
