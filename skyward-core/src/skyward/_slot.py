"""The client's side of one slot: what was sent to it, what it holds, and what becomes of that when it goes."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Buffer
from typing import TYPE_CHECKING, Any

from skyward.worker.protocol import Frame, Kind, encode, head_of

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._scheduler import SlotKey
    from skyward._task import Task
    from skyward.spi.transport import Link

__all__ = ["SlotClient"]

_FUNCTIONS_KEPT = 128
"""Functions that a slot keeps; the one that was used longest ago is forgotten first."""
_ACK_AT_ONCE = 64 << 10
"""A result from this size is acknowledged at once, so that the slot can free it; a small one with the next task."""


class SlotClient:
    """A slot as the client knows it. The dispatcher's lock guards it; frames come on the transport's thread."""

    def __init__(self, key: SlotKey, dispatcher: Dispatcher) -> None:
        self.key = key
        self._dispatcher = dispatcher
        self._link: Link | None = None
        self._pid: int | None = None
        self._sequence = 0
        self._received = 0
        self._flying: OrderedDict[int, Task] = OrderedDict()
        self._functions: OrderedDict[bytes, None] = OrderedDict()
        self._bundles: set[bytes] = set()
        self._death: dict[str, Any] | None = None
        self._early: dict[str, Any] | None = None
        self._unattached: dict[str, Any] | None = None
        self._stillborn = False

    def attach(self, link: Link) -> None:
        """A link is there; nothing is sent before the slot has said what it holds.

        Its frames, and its end, may have come before this, since they come on another thread.
        """
        if self._stillborn:
            self._stillborn = False
            return
        self._link = link
        if self._unattached is not None:
            holdings, self._unattached = self._unattached, None
            self._welcomed(holdings)

    def send(self, task: Task, *, ahead: bool) -> None:
        """Send a task with whatever it needs that the slot does not hold yet, in one write."""
        self._sequence += 1
        self._flying[self._sequence] = task
        self._transmit(self._sequence, task, ahead=ahead)

    def _transmit(self, sequence: int, task: Task, *, ahead: bool) -> None:
        if self._link is None or self._pid is None:
            return  # it goes out once the slot has been welcomed again
        parts: list[Buffer] = []
        bundle = task.bundle
        if bundle.modules and bundle.digest not in self._bundles:
            self._bundles.add(bundle.digest)
            parts += encode(Kind.MODULES, head=(bundle.digest,), buffers=[pickle.dumps(bundle.records(), 5)])
        encoded = task.encoded
        if encoded.digest in self._functions:
            self._functions.move_to_end(encoded.digest)
        else:
            self._functions[encoded.digest] = None
            if len(self._functions) > _FUNCTIONS_KEPT:
                oldest, _ = self._functions.popitem(last=False)
                parts += encode(Kind.FORGET, head=(oldest,))
            payload = encoded.payload
            parts += encode(Kind.FUNCTION, head=(encoded.digest,), buffers=[payload.data, *payload.buffers])
        head = (sequence, encoded.digest, self._received, ahead)
        parts += encode(Kind.TASK, task.number, head, [task.payload.data, *task.payload.buffers])
        self._link.send(parts)

    def sequence_of(self, task: Task) -> int | None:
        """The number under which the slot knows a task."""
        return next((sequence for sequence, flying in self._flying.items() if flying is task), None)

    def release(self, sequence: int) -> Task | None:
        """Take a task off the slot: it has ended, or was given back."""
        return self._flying.pop(sequence, None)

    def on_frame(self, frame: Frame) -> None:
        """A frame of the slot has arrived."""
        match frame.kind:
            case Kind.RESULT | Kind.FAILURE:
                head = head_of(frame)
                sequence = head[0]
                self._received = max(self._received, sequence)
                size = len(memoryview(frame.buffers[0]).cast("B")) if len(frame.buffers) == 1 else _ACK_AT_ONCE
                if size >= _ACK_AT_ONCE and self._link is not None:
                    self._link.send(encode(Kind.ACK, head=(sequence,)))
                self._dispatcher.ended(self, sequence, frame, head)
            case Kind.LOG:
                self._dispatcher.logged(self.key[0], frame.number, head_of(frame))
            case Kind.EVENT:
                self._dispatcher.emitted(frame)
            case Kind.WELCOME:
                with self._dispatcher.lock:
                    if self._link is None:
                        self._unattached = head_of(frame)
                    else:
                        self._welcomed(head_of(frame))

    def on_lost(self, error: Exception | None) -> None:
        """The connection has ended: connect again, unless the slot is known to be dead."""
        with self._dispatcher.lock:
            if self._link is None:
                self._stillborn, self._unattached = True, None
            self._link = None
            if self._death is not None:
                self._settle()
        self._dispatcher.reconnect(self, error)

    def died(self, facts: dict[str, Any]) -> None:
        """The supervisor says that the process died. What it had still sent is read first."""
        self._death = facts
        if self._link is None or self._early is not None:
            self._settle()

    def _settle(self) -> None:
        """Part what the dead process held into run, not run, and unknown."""
        facts, self._death = self._death, None
        assert facts is not None
        self._pid = None
        flying = list(self._flying.items())
        self._flying.clear()
        self._functions.clear()
        self._bundles.clear()
        running = [task for sequence, task in flying if sequence == facts["running"]]
        unstarted = [task for sequence, task in flying if sequence > facts["started"]]
        unknown = [task for _, task in flying if task not in running and task not in unstarted]
        self._dispatcher.slot_died(self.key, facts, running=running, unstarted=unstarted, unknown=unknown)
        if self._early is not None:
            holdings, self._early = self._early, None
            self._welcomed(holdings)

    def _welcomed(self, holdings: dict[str, Any]) -> None:
        """The slot has told what it holds: send what it never got, and have it used."""
        if self._pid is not None and holdings["pid"] != self._pid:
            self._early = holdings  # another process already: the supervisor's word on the old one is on its way
            return
        fresh = self._pid is None
        self._pid = holdings["pid"]
        self._functions = OrderedDict.fromkeys(holdings["functions"])
        self._bundles = set(holdings["modules"])
        known = {*holdings["done"], holdings["running"]}
        for sequence, task in list(self._flying.items()):
            if sequence in known:
                continue
            if sequence > holdings["started"]:
                self._transmit(sequence, task, ahead=True)
            else:
                del self._flying[sequence]
                self._dispatcher.unknown(self.key, task)
        if fresh:
            self._dispatcher.slot_up(self)

    def close(self) -> list[Task]:
        """Close the link and return what was still out."""
        if self._link is not None:
            self._link.close()
            self._link = None
        flying = list(self._flying.values())
        self._flying.clear()
        return flying
