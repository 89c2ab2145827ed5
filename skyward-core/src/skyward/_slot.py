"""The client's side of one slot: what was sent to it, what it holds, and what becomes of that when it goes."""

from __future__ import annotations

import pickle
from collections import OrderedDict, deque
from collections.abc import Buffer
from typing import TYPE_CHECKING, Any

from skyward._uploads import Uploads
from skyward._words import LastWords
from skyward.worker.protocol import END, TASK, Frame, Kind, encode, head_of, size_of

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward._scheduler import SlotKey
    from skyward._task import Task
    from skyward.spi.transport import Link

__all__ = ["Connection", "SlotClient"]

_FUNCTIONS_KEPT = 128
"""Functions that a slot keeps; the one that was used longest ago is forgotten first."""
_ACK_AT_ONCE = 64 << 10
"""A result from this size is acknowledged at once, so that the slot can free it; a small one with the next task."""
_ACK_LINES = 256
"""As many lines of output are acknowledged at once; fewer with the next task."""
_RAW_PATIENCE = 1.0
"""Seconds that the report of a task's end waits, at most, for raw lines that come by way of the supervisor."""


class Connection:
    """One connection to a slot. What it brings once another one has taken its place is not listened to."""

    __slots__ = ("_greeting", "_link", "_slot", "lost")

    def __init__(self, slot: SlotClient) -> None:
        self._slot = slot
        self._link: Link | None = None
        self._greeting: Frame | None = None
        self.lost = False

    def attach(self, link: Link) -> None:
        """The link is there. It may have brought a greeting already, or its end, since that comes on another thread."""
        self._link = link
        if self.lost:
            return
        self._slot.connected(self, link)
        if self._greeting is not None:
            self._slot.on_welcome(self, head_of(self._greeting))

    def on_frame(self, frame: Frame) -> None:
        """A frame of the slot has arrived."""
        if frame.kind == Kind.WELCOME:
            with self._slot.dispatcher.lock:
                if self._link is None:
                    self._greeting = frame
                else:
                    self._slot.on_welcome(self, head_of(frame))
        elif self._slot.heard is self:
            self._slot.on_frame(frame)

    def on_lost(self, error: Exception | None) -> None:
        """The connection has ended."""
        with self._slot.dispatcher.lock:
            if self._slot.heard is self:
                self._slot.go_away()  # first: what is caught up with may end a task, and another one could be given
        if self._slot.heard is self:
            self._slot.catch_up()
        with self._slot.dispatcher.lock:
            self.lost = True
            self._slot.disconnected(self)
        self._slot.dispatcher.reconnect(self._slot, error)


class SlotClient:
    """A slot as the client knows it. The dispatcher's lock guards it; frames come on the transport's thread.

    A slot is one process after another. ``generation`` counts them, and tasks are sent only to the one whose greeting
    has come and whose forerunner's death the supervisor has told of.
    """

    def __init__(self, key: SlotKey, dispatcher: Dispatcher, uploads: Uploads[SlotClient] | None = None) -> None:
        self.key = key
        self.dispatcher = dispatcher
        self._uploads: Uploads[SlotClient] = Uploads() if uploads is None else uploads
        self.heard: Connection | None = None  # the present connection; no other one is listened to
        self._link: Link | None = None
        self._open = False  # whether the present connection has brought its greeting, so that tasks may be sent
        self._generation: int | None = None
        self._buried = 0  # the last generation that is known to be dead
        self._death: dict[str, Any] | None = None
        self._successor: dict[str, Any] | None = None
        self._sequence = 0
        self._received = 0
        self._lines = 0
        self.words = LastWords()
        self._raw_lines = 0
        self._late: deque[Frame] = deque()  # a report that waits for raw lines, and what came behind it
        self._flying: OrderedDict[int, Task] = OrderedDict()
        self._functions: OrderedDict[bytes, None] = OrderedDict()
        self._bundles: set[bytes] = set()
        self._head: tuple[str, int] | None = None  # where node 0 is, if not where the slot was told at its start

    # tasks

    def send(self, task: Task, *, ahead: bool) -> None:
        """Send a task with whatever it needs that the slot does not hold yet, in one write."""
        self._sequence += 1
        self._flying[self._sequence] = task
        self._transmit(self._sequence, task, ahead=ahead)

    def _transmit(self, sequence: int, task: Task, *, ahead: bool) -> None:
        if self._link is None or not self._open:
            return  # it goes out once the slot has been welcomed again
        parts: list[Buffer] = []
        bundle = task.bundle
        if bundle.modules and bundle.digest not in self._bundles:
            self._bundles.add(bundle.digest)
            parts += encode(Kind.MODULES, head=(bundle.digest,), buffers=[pickle.dumps(bundle.records(), 5)])
        if task.team is not None:
            parts += task.team.frames(sequence, task)
            if not task.team.is_met:  # it is asked for a port; the task follows with what the others have answered
                self._link.send(parts)
                return
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
        head = TASK.pack(sequence, self._received, self._lines, ahead, encoded.digest)
        shared = task.payload.shared
        if shared is not None:
            self._link.send([*parts, *shared.encode(task.number, head, task.payload)])
            return
        buffers: list[Buffer] = [task.payload.data, *task.payload.buffers]
        self._link.send([*parts, *encode(Kind.TASK, task.number, buffers=buffers, raw_head=head)])

    def send_on(self, task: Task) -> None:
        """Send a task whose place among others is known by now; `send` was called before."""
        sequence = self.sequence_of(task)
        if sequence is not None:
            self._transmit(sequence, task, ahead=False)

    def renew(self) -> None:
        """Have the slot go on in a new process. Nothing has begun of what it holds. The lock is held."""
        if self._link is not None and self._open:
            self._link.send(encode(Kind.RENEW))

    def part(self, call: str) -> None:
        """The group of a call does not meet, of which the slot has opened a port. The lock is held."""
        if self._link is not None and self._open:
            self._link.send(encode(Kind.GATHER, head=(0, call, "", b"", 0)))

    def meet_at(self, head: tuple[str, int]) -> None:
        """Tell the slot where node 0 is from now on; the tasks that are sent later know. The lock is held."""
        self._head = head
        if self._link is not None and self._open:
            self._link.send(encode(Kind.HEAD, head=head))

    def sequence_of(self, task: Task) -> int | None:
        """The number under which the slot knows a task."""
        return next((sequence for sequence, flying in self._flying.items() if flying is task), None)

    def holds(self, sequence: int) -> Task | None:
        """The task that the slot knows under a number."""
        return self._flying.get(sequence)

    def release(self, sequence: int) -> Task | None:
        """Take a task off the slot: it has ended, or was given back."""
        return self._flying.pop(sequence, None)

    @property
    def cancelled(self) -> list[int]:
        """Numbers of the tasks here that were cancelled and have not ended."""
        return [sequence for sequence, task in self._flying.items() if task.cancelled]

    # what the slot says

    def on_frame(self, frame: Frame) -> None:
        """A frame of the slot has arrived that is no greeting."""
        if self._late:
            self._late.append(frame)
            return
        match frame.kind:
            case Kind.RESULT | Kind.FAILURE:
                sequence, raw_lines, seconds, how = END.unpack(frame.head)
                if raw_lines > self._raw_lines:  # written before the task ended, and so to be told before it
                    self._late.append(frame)
                    self.dispatcher.later(_RAW_PATIENCE, self.catch_up)
                    return
                self._received = max(self._received, sequence)
                if len(frame.buffers) > 1 or size_of(frame.buffers[0]) >= _ACK_AT_ONCE:
                    self._acknowledge()
                self.dispatcher.ended(self, sequence, frame, seconds, how)
            case Kind.LOG:
                head = head_of(frame)
                self._line(head[4])
                self.dispatcher.logged(self.key[0], frame.number, head)
            case Kind.EVENT:
                self._line(head_of(frame)[0])
                self.dispatcher.emitted(frame)
            case Kind.PORT:
                self.dispatcher.teams.answered(self, *head_of(frame))
            case Kind.WANT:
                with self.dispatcher.lock:
                    for digest in head_of(frame)[0]:
                        self._wanted(digest)
            case Kind.SHARED:
                (digest,) = head_of(frame)
                with self.dispatcher.lock:
                    for slot in self._uploads.ended(self, digest):
                        slot.look(digest)

    # what tasks share; the dispatcher's lock is held

    def _wanted(self, digest: bytes) -> None:
        """The slot lacks what its next task needs: send it, unless another slot of the node is being sent it."""
        shared = next(
            (found for task in self._flying.values() if (found := task.payload.shared) and digest in found.views), None
        )
        if shared is None:  # that task has been taken back
            self.look(digest)
        elif self._link is not None and self._open and self._uploads.wanted(self, digest):
            for parts in shared.upload(digest):
                self._link.send(parts)

    def look(self, *digests: bytes, cancelled: int = 0) -> None:
        """Have the slot look again for what it lacks, or for what has become of its next task."""
        if self._link is not None and self._open:
            self._link.send(encode(Kind.LOOK, head=(digests, cancelled)))

    def let_go(self, sequence: int) -> None:
        """A task was cancelled or taken back: it is not to wait any longer for what it shares with others."""
        task = self._flying.get(sequence)
        if task is not None and task.payload.shared is not None:
            self.look(cancelled=sequence)

    def raw_came(self, number: int) -> None:
        """A raw line of this slot has come by way of the supervisor, who numbers them."""
        self._raw_lines = max(self._raw_lines, number)
        if self._late and END.unpack(self._late[0].head)[1] <= self._raw_lines:
            self._go_on()

    def catch_up(self) -> None:
        """Wait for raw lines no longer: a connection has ended, or they take too long."""
        while self._late:
            self._raw_lines = END.unpack(self._late[0].head)[1]
            self._go_on()

    def _go_on(self) -> None:
        """Take what is late, up to the next report that has to wait."""
        late, self._late = self._late, deque()
        while late and not self._late:
            self.on_frame(late.popleft())
        self._late += late

    def _line(self, number: int) -> None:
        self._lines = number
        if not number % _ACK_LINES:
            self._acknowledge()

    def _acknowledge(self) -> None:
        link = self._link
        if link is not None:
            link.send(encode(Kind.ACK, head=(self._received, self._lines)))

    # connections and deaths; the dispatcher's lock is held

    def connection(self) -> Connection:
        """What is to listen to the next connection."""
        return Connection(self)

    def connected(self, connection: Connection, link: Link) -> None:
        """A connection is there; nothing is sent on it before the slot has said what it holds."""
        if self._link is not None:
            self._link.close()
        self.go_away()
        self.heard, self._link, self._successor = connection, link, None
        self._late.clear()  # not acknowledged, so it will be sent again

    def disconnected(self, connection: Connection) -> None:
        """A connection has ended."""
        if connection is self.heard:
            self.go_away()
            self.heard, self._link, self._successor = None, None, None
            if self._death is not None:
                self._settle()

    def go_away(self) -> None:
        """Until the slot has greeted again nothing can be sent, so nothing is given to it."""
        if self._open:
            self._open = False
            for slot, digest in self._uploads.gone(self):
                slot.look(digest)
            self.dispatcher.slot_away(self)

    def on_welcome(self, connection: Connection, holdings: dict[str, Any]) -> None:
        """The slot has told what it holds."""
        generation = holdings["generation"]
        if connection is not self.heard or generation <= self._buried:
            return
        if self._generation not in (None, generation):
            self._successor = holdings  # the supervisor's word on the one before is on its way
            if self._death is not None:
                self._settle()
            return
        self._resume(holdings)

    def _resume(self, holdings: dict[str, Any]) -> None:
        """Say what has arrived, send what the slot never got, and have it used."""
        assert self._link is not None
        fresh = self._generation is None
        self._generation, self._open = holdings["generation"], True
        if fresh:
            self._lines = 0
        self._link.send(encode(Kind.RESUME, head=(self._received, self._lines)))
        if self._head is not None:
            self._link.send(encode(Kind.HEAD, head=self._head))
        self._functions = OrderedDict.fromkeys(holdings["functions"])
        self._bundles = set(holdings["modules"])
        known = {*holdings["done"], *holdings["recalled"], holdings["running"]}
        for sequence, task in list(self._flying.items()):
            if sequence in known:
                continue
            if sequence > holdings["started"]:
                self._transmit(sequence, task, ahead=True)
            else:
                del self._flying[sequence]
                self.dispatcher.unknown(self.key, task)
        if fresh:
            self.dispatcher.slot_up(self)
        else:
            self.dispatcher.slot_back(self)

    def died(self, facts: dict[str, Any]) -> None:
        """The supervisor says that the process died. What it had still sent is read first."""
        generation = facts["generation"]
        if generation <= self._buried:
            return  # said again after a reconnection
        self._buried = generation
        if self._generation is None or self._generation > generation:
            return
        if self._death is None:
            self._death = facts
        if self._link is None or self._successor is not None:
            self._settle()

    def _settle(self) -> None:
        """Part what the dead process held into run, not run, and unknown."""
        facts, self._death = self._death, None
        assert facts is not None
        self._generation, self._open = None, False
        flying = list(self._flying.items())
        self._flying.clear()
        running: list[Task] = []
        unstarted: list[Task] = []
        unknown: list[Task] = []
        for sequence, task in flying:
            if sequence == facts["running"]:
                running.append(task)
            elif sequence > facts["started"] or sequence in facts["recalled"]:
                unstarted.append(task)
            else:
                unknown.append(task)
        facts = {**facts, "words": [line for task in running for line in self.words.of(task.number)]}
        self.dispatcher.slot_died(self.key, facts, running=running, unstarted=unstarted, unknown=unknown)
        successor, self._successor = self._successor, None
        if successor is not None and successor["generation"] > self._buried:
            self._resume(successor)

    def close(self) -> list[Task]:
        """Close the link and return what was still out."""
        if self._link is not None:
            self._link.close()
            self.heard = self._link = None
        self._generation = self._death = None
        flying = list(self._flying.values())
        self._flying.clear()
        return flying
