"""A machine on which nothing runs: it gives the answers that a client needs to take its nodes for ready."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import AsyncGenerator, Buffer, Callable, Sequence
from typing import TYPE_CHECKING

from skyward.errors import NodeLost, UsageError
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Wire
from skyward.testing._loop import running_clock
from skyward.testing._record import TAKEN
from skyward.worker import failure
from skyward.worker.protocol import END, RAISED, TASK, Frame, FrameReader, Kind, head_of

if TYPE_CHECKING:
    from skyward.model.bootstrap import Step
    from skyward.model.image import Image
    from skyward.spi.provider import PoolIdentity
    from skyward.testing._backend import Backend
    from skyward.testing._record import Record

__all__ = ["SimulatedNode"]

_GENERATION = 1


class SimulatedNode:
    """The answers of one machine. What it says arrives on the event loop on which its client has opened the link."""

    ip: str | None = None

    def __init__(self, backend: Backend, machine_id: str) -> None:
        self._backend = backend
        self._id = machine_id
        self._links: list[_SimulatedLink] = []

    @property
    def record(self) -> Record:
        """What the cloud knows of this machine."""
        return self._backend.records[self._id]

    @property
    def keeps_lease(self) -> bool:
        """Whether its client lives in time that passes by itself: the cloud's clock says nothing of its silence."""
        return any(not link.virtual for link in self._links)

    def ended(self) -> bool:
        """Never by itself: the cloud's clock ends it."""
        return False

    def road(self, identity: PoolIdentity, wire: Wire) -> _SimulatedRoad:
        """The way to it."""
        del identity, wire
        return _SimulatedRoad(self, self._backend)

    def lookout(self) -> str | None:
        """None: nothing runs on it."""
        return None

    def warn(self, seconds: float) -> None:
        """The supervisor tells of it, if its client is connected; if not, as soon as it is."""
        for link in self._links:
            if link.name == "control":
                link.say(Kind.NOTICE, (TAKEN, seconds))

    def end(self, why: str) -> None:
        """The supervisor says why it ends, if it knows; then every link is lost."""
        for link in self._links:
            if why in ("deadline", "lease") and link.name == "control":
                link.say(Kind.GOODBYE, (why,))
            link.lose(f"machine {self._id} has ended: {why}")
        self._links.clear()

    async def remove(self) -> None:
        """Nothing is left of it."""

    def clear(self) -> None:
        """Nothing is left of it."""

    def connect(self, name: str, receiver: Receiver) -> Link:
        """Open a link; a newer one to the same socket takes the place of the older one."""
        with self._backend.lock:
            self._backend.heard(self.record)
            if self.record.ended is not None:
                raise NodeLost(f"machine {self._id} has ended: {self.record.why}", node=self.record.node)
            for link in [old for old in self._links if old.name == name]:
                self._links.remove(link)
                link.lose("a newer connection has taken its place")
            link = _SimulatedLink(name, receiver, self._take)
            self._links.append(link)
            link.say(Kind.WELCOME, self._welcome(name))
        return link

    def hang_up(self) -> None:
        """The client closes the road: its links go without a word."""
        with self._backend.lock:
            for link in self._links:
                link.close()
            self._links.clear()
            self._backend.heard(self.record)

    def _welcome(self, name: str) -> dict[str, object]:
        if name == "control":
            slots = dict.fromkeys(range(self._slots()), _GENERATION)
            return {"pid": 0, "configured": self.record.configuration is not None, "slots": slots, "python": ""}
        return {
            "generation": _GENERATION,
            "pid": 0,
            "started": 0,
            "running": 0,
            "recalled": [],
            "done": [],
            "functions": [],
            "modules": [],
        }

    def _slots(self) -> int:
        return 0 if self.record.configuration is None else int(self.record.configuration["slots"])

    def _take(self, link: _SimulatedLink, frame: Frame) -> None:
        """A frame of the client has arrived. Each one renews the lease."""
        with self._backend.lock:
            self._backend.heard(self.record)
            if self.record.ended is None:
                self._obey(link, frame)

    def _obey(self, link: _SimulatedLink, frame: Frame) -> None:
        match frame.kind:
            case Kind.PING:
                link.say(Kind.PONG, None)
            case Kind.CONFIGURE:
                self.record.configuration = head_of(frame)
                for slot in range(self._slots()):
                    link.say(Kind.SLOT_UP, (slot, _GENERATION))
                if self.record.notice is not None and self.record.offer.market == "spot":
                    link.say(Kind.NOTICE, (TAKEN, self.record.notice - self._backend.clock.monotonic()))
            case Kind.EXTEND:
                (seconds,) = head_of(frame)
                self._backend.extend(self.record, seconds)
            case Kind.RECALL:
                link.say(Kind.RECALLED, (*head_of(frame), False))
            case Kind.GATHER:  # a port that nobody will look for, since the task fails
                sequence, *_ = head_of(frame)
                link.say(Kind.PORT, (sequence, 1, "", "", ""))
            case Kind.TASK:
                error = UsageError("simulated nodes run no tasks: make the cloud with nodes='local' to run some")
                sequence, *_ = TASK.unpack(frame.head)
                head = END.pack(sequence, 0, 0.0, RAISED)
                link.hand_over(Frame(Kind.FAILURE, frame.number, 0, head, [failure.encode(error)]))
            case _:
                pass


class _SimulatedLink:
    """The client's end of a connection."""

    def __init__(self, name: str, receiver: Receiver, take: Callable[[_SimulatedLink, Frame], None]) -> None:
        self.name = name
        self._receiver = receiver
        self._take = take
        self._loop = asyncio.get_running_loop()
        self.virtual = running_clock() is not None
        self._reader = FrameReader()
        self._closed = False  # by the client, who wants to hear nothing more
        self._over = False

    # for the client

    def send(self, parts: Sequence[Buffer], /) -> None:
        """Hand frames to the node at once."""
        rest = memoryview(b"".join(parts))
        while rest and not self._over:
            room = self._reader.get_buffer()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            for frame in self._reader.advance(count):
                self._take(self, frame)

    def close(self) -> None:
        """Hear nothing more."""
        self._closed = self._over = True

    # for the node

    def say(self, kind: Kind, head: object) -> None:
        """Have a frame without buffers arrive at the client."""
        self.hand_over(Frame(kind, 0, 0, pickle.dumps(head, 5), []))

    def hand_over(self, frame: Frame) -> None:
        """Have this frame arrive at the client."""
        self._soon(lambda: self._receiver.on_frame(frame))

    def lose(self, why: str) -> None:
        """Have the client see that the connection has ended."""
        if not self._over:
            self._over = True
            self._soon(lambda: self._receiver.on_lost(ConnectionResetError(why)))

    def _soon(self, action: Callable[[], None]) -> None:
        """Later, on the client's loop: whoever is sending may hold locks that the receiver needs."""

        def arrive() -> None:
            if not self._closed:
                action()

        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is there to be told
            if asyncio._get_running_loop() is self._loop:
                self._loop.call_soon(arrive)
            else:
                self._loop.call_soon_threadsafe(arrive)


class _SimulatedRoad:
    """The way to a simulated machine."""

    def __init__(self, node: SimulatedNode, backend: Backend) -> None:
        self._node = node
        self._backend = backend

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        """One phase, which takes as long as the script says. The lease is kept meanwhile."""
        report("uv", "started", None)
        self._node.record.steps = tuple(steps)
        async with self._kept_alive():
            await self._backend.act("bootstrap", self._node.record.id, lambda: None)
        report("uv", "completed", 1.0)
        return Interpreter()

    @contextlib.asynccontextmanager
    async def _kept_alive(self) -> AsyncGenerator[None]:
        record, loop = self._node.record, asyncio.get_running_loop()
        timer: list[asyncio.TimerHandle] = []

        def say() -> None:
            self._backend.heard(record)
            if record.lease is not None:
                timer[:] = [loop.call_later(record.lease / 4, say)]

        say()
        try:
            yield
        finally:
            for handle in timer:
                handle.cancel()

    async def open(self, name: str, receiver: Receiver, /) -> Link:
        """Open a link to ``control`` or ``slot-N``."""
        return self._node.connect(name, receiver)

    async def close(self) -> None:
        """Close every link."""
        self._node.hang_up()
