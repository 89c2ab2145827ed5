"""What nodes tell beside the ends of tasks: output, figures, and events that user code emits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skyward.model.events import LogLine, Metrics, SkywardEvent

if TYPE_CHECKING:
    from skyward._events import EventBus
    from skyward._node import Node
    from skyward.worker.protocol import Frame

__all__ = ["News"]

_log = logging.getLogger("skyward.tasks")


class News:
    """Passes on to a pool's events what its nodes say, with the machine that it is of.

    Attributes:
        nodes: those of the pool now, by their indices.
    """

    def __init__(self, events: EventBus) -> None:
        self.nodes: dict[int, Node] = {}
        self._events = events

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

    def _id_of(self, index: int) -> str:
        """The machine that is a node now; empty when it is gone, which another thread may find at any time."""
        node = self.nodes.get(index)
        return "" if node is None else node.instance.id
