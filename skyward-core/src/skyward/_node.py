"""The client's side of one machine: its control channel, its slots, its lease."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tenacity import AsyncRetrying, retry_if_not_exception_type, wait_random_exponential

from skyward import _clock
from skyward._slot import SlotClient
from skyward._uploads import Uploads
from skyward.errors import NodeLost
from skyward.worker.protocol import Frame, Kind, encode, head_of

if TYPE_CHECKING:
    from skyward._dispatcher import Dispatcher
    from skyward.model.instance import Instance
    from skyward.spi.transport import Interpreter, Link, Receiver, Transport

__all__ = ["Node"]

_log = logging.getLogger("skyward.node")

_PATIENCE = 60.0
"""Seconds for which a machine without a lease is tried to be reached, and any machine at its start."""
_LEASE = "lease"
"""The reason with which a machine takes its leave that has heard nothing for too long."""
_OPEN_LIMIT = 30.0
"""Seconds that a transport may take to open a link before it is asked again."""
_LEAST = 2.0
"""Seconds that it may take in any case: time enough to log in to a machine that is busy."""


class Node:
    """A machine that runs, is connected, and serves tasks.

    Args:
        index: its place in the pool.
        instance: what the provider says of it.
        transport: the road to it.
        dispatcher: who gives it tasks and takes its events.
        lease: seconds without a word after which it ends itself.
    """

    def __init__(
        self, index: int, instance: Instance, transport: Transport, dispatcher: Dispatcher, lease: float | None
    ) -> None:
        self.index = index
        self.instance = instance
        self.transport = transport
        self.slots: list[SlotClient] = []
        self._dispatcher = dispatcher
        self._lease = lease
        self._control: Link | None = None
        self._welcome: asyncio.Future[dict[str, Any]] | None = None
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._configuration: dict[str, Any] | None = None
        self._head: tuple[str, int] | None = None
        self._up: set[int] = set()
        self._at_work: set[concurrent.futures.Future[Any]] = set()
        self._asked_back: set[tuple[int, int]] = set()  # (slot, sequence) whose answer is still to come
        self._heard = threading.Condition()
        self._pings = self._pongs = 0
        self._started = False
        self._closed = False
        self._extension: tuple[float, float | None] | None = None
        self.farewell: str | None = None
        self.notice: tuple[str, float | None] | None = None
        """Why its machine will be taken back, and when, in seconds since the epoch, as far as that is known."""
        self.on_return: Callable[[Node], Awaitable[None]] | None = None
        """Called each time that a connection which was lost has been made again."""

    async def start(self, interpreter: Interpreter, configuration: dict[str, Any], slots: int) -> None:
        """Configure the node and wait until each of its slots is connected."""
        self._configuration = {
            **configuration,
            "slots": slots,
            "python": interpreter.python,
            "front": list(interpreter.front),
            "back": list(interpreter.back),
        }
        cluster, moved = configuration["cluster"], self._head
        self._head = (cluster["head_addr"], cluster["head_port"])
        uploads: Uploads[SlotClient] = Uploads()
        self.slots = [SlotClient((self.index, number), self._dispatcher, uploads) for number in range(slots)]
        if moved is not None:  # another machine has become node 0 since the configuration was made
            self.meet_at(moved)
        try:
            await self._connect()
            await self._ready.wait()
            if self.farewell is not None:
                raise NodeLost(f"node {self.index} ended while it was being started: {self.farewell}", node=self.index)
        except BaseException as error:
            self._dispatcher.node_lost(self, str(error), replaceable=False)
            raise
        with self._dispatcher.lock:
            self._started = True
            if self.notice is not None:
                self._dispatcher.node_leaves(self)

    async def _connect(self) -> None:
        """Open the control channel, configure the node unless it is, and say again what may have got lost."""
        self._control = await self._open("control", self)
        self._control.send(encode(Kind.CONFIGURE, head=self._configuration))
        if self._extension is not None:
            moment, seconds = self._extension
            self._tell(Kind.EXTEND, (None if seconds is None else seconds + moment - self._loop.time(),))
        with self._heard:
            self._pongs = self._pings  # what it was asked on an earlier connection, nobody waits for
        with self._dispatcher.lock:
            for slot, sequence in self._asked_back:
                self._tell(Kind.RECALL, (slot, sequence))
            for client in self.slots:
                for sequence in client.cancelled:
                    self.cancel(client.key[1], sequence)

    async def _open(self, socket: str, receiver: Receiver) -> Link:
        """Open a link, again and again while the machine may still come back."""
        loop = asyncio.get_running_loop()
        patience = _PATIENCE if self._lease is None else self._lease
        # At the start it is told before the machine gives itself up, and with the reason.
        end = loop.time() + (patience if self._started else min(0.8 * patience, _PATIENCE))
        async for attempt in AsyncRetrying(
            retry=retry_if_not_exception_type((NodeLost, asyncio.CancelledError)),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            stop=lambda _: loop.time() >= end,
            reraise=True,
        ):
            with attempt:  # one that hangs takes no longer than there is time left
                return await self._opened(socket, receiver, min(max(end - loop.time(), _LEAST), _OPEN_LIMIT))
        raise AssertionError("unreachable")

    async def _opened(self, socket: str, receiver: Receiver, limit: float) -> Link:
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await self.transport.open(socket, receiver)
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise ConnectionError(f"{socket} of {self.instance.id} did not answer within {limit:.0f} s") from error

    def renew(self) -> int:
        """Say a word, so that the lease goes on; returns its number."""
        with self._heard:
            self._pings += 1
            number = self._pings
        self._tell(Kind.PING, None)
        return number

    def answers(self, limit: float) -> bool:
        """Say a word and wait for the supervisor's answer; false if it is not connected, or after ``limit`` seconds."""
        number = self.renew()
        with self._heard:
            self._heard.wait_for(lambda: self._pongs >= number or self._control is None, limit)
            return self._pongs >= number

    def cancel(self, slot: int, sequence: int) -> None:
        """Interrupt the running task of a slot. The dispatcher's lock is held."""
        self._tell(Kind.CANCEL, (slot, sequence))
        self.slots[slot].let_go(sequence)

    def recall(self, slot: int, sequence: int) -> None:
        """Ask for a task back that was sent ahead. The dispatcher's lock is held."""
        self._asked_back.add((slot, sequence))
        self._tell(Kind.RECALL, (slot, sequence))

    def meet_at(self, head: tuple[str, int]) -> None:
        """Tell the slots where node 0 is, by address and port, unless they know."""
        if head != self._head:
            self._head = head
            with self._dispatcher.lock:
                for slot in self.slots:
                    slot.meet_at(head)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now by which it hears what it is told."""
        return self._control is not None

    def extend(self, seconds: float | None) -> None:
        """Move the node's deadline to ``seconds`` from now; said again on each new connection, as it may get lost."""
        self._extension = (self._loop.time(), seconds)
        self._tell(Kind.EXTEND, (seconds,))

    def _tell(self, kind: Kind, head: object) -> None:
        control = self._control
        if control is not None:
            control.send(encode(kind, head=head))

    def on_frame(self, frame: Frame) -> None:
        """A frame of the supervisor has arrived."""
        match frame.kind:
            case Kind.SLOT_UP:
                slot, _ = head_of(frame)
                if slot not in self._up:
                    self._up.add(slot)
                    self._soon(self._attach(self.slots[slot]))
            case Kind.SLOT_DOWN:
                facts = head_of(frame)
                with self._dispatcher.lock:
                    self.slots[facts["slot"]].died(facts)
            case Kind.LOG:
                head = head_of(frame)
                self._dispatcher.logged(self.index, frame.number, head)
                line, stream, _, slot, number = head
                if stream == "stderr":
                    self.slots[slot].words.keep(frame.number, line)
                self.slots[slot].raw_came(number)
            case Kind.METRICS:
                self._dispatcher.measured(self.index, head_of(frame))
            case Kind.RECALLED:
                slot, sequence, agreed = head_of(frame)
                with self._dispatcher.lock:
                    self._asked_back.discard((slot, sequence))
                    if agreed:
                        self.slots[slot].let_go(sequence)
                self._dispatcher.recalled(self.slots[slot], sequence, agreed=agreed)
            case Kind.PONG:
                with self._heard:
                    self._pongs += 1
                    self._heard.notify_all()
            case Kind.NOTICE:
                self._noticed(*head_of(frame))
            case Kind.GOODBYE:
                (why,) = head_of(frame)
                self.farewell = self._unheard("it heard nothing from this client") if why == _LEASE else why

    def _noticed(self, reason: str, seconds: float | None) -> None:
        """The machine will be taken back, in so many seconds if that is known."""
        with self._dispatcher.lock:
            if self.notice is None:
                self.notice = (reason, None if seconds is None else _clock.current().time() + seconds)
                if self._started:
                    self._dispatcher.node_leaves(self)

    def on_lost(self, error: Exception | None) -> None:
        """The control channel has ended: connect again, or give the node up."""
        with self._heard:
            self._control = None
            self._heard.notify_all()
        for slot in self.slots:
            slot.catch_up()
        if not self._closed:
            self._soon(self._recover(error))

    async def _recover(self, error: Exception | None) -> None:
        if self.farewell is None:
            try:
                await self._connect()
            except NodeLost as failure:
                self.farewell = str(failure)
            except Exception as failure:  # noqa: BLE001  whatever it is, the node cannot be reached
                why = str(failure or error)
                self.farewell = why if self._lease is None else self._unheard("it could not be reached", f": {why}")
        if self.farewell is not None and not self._closed:
            started = self._started
            self._ready.set()
            if started:  # else `start` raises it
                self._dispatcher.node_lost(self, self.farewell)
        elif self._started and not self._closed and self.on_return is not None:
            await self.on_return(self)

    def _unheard(self, fact: str, reason: str = "") -> str:
        """Why a machine is gone to which no word went for too long."""
        return (
            f"{fact} for {self._lease:g} s, the lease after which a machine ends itself{reason}; where the network may "
            "be away for longer, give the pool a longer lease=..."
        )

    async def _attach(self, slot: SlotClient) -> None:
        connection = slot.connection()
        try:
            link = await self._open(f"slot-{slot.key[1]}", connection)
        except Exception as error:  # noqa: BLE001  the control channel tells whether the node is lost
            _log.debug("slot %s cannot be reached: %s", slot.key, error)
            return
        with self._dispatcher.lock:
            if self._closed or self.farewell is not None:  # another machine may have its place by now
                link.close()
            else:
                connection.attach(link)

    def reattach(self, slot: SlotClient) -> None:
        """The link to a slot has ended: open it again."""
        if not self._closed and self.farewell is None:
            self._soon(self._attach(slot))

    def slot_ready(self) -> None:
        """One more slot has said what it holds. Called with the dispatcher's lock held."""
        if self._dispatcher.slots_up(self.index) == len(self.slots):
            self._loop.call_soon_threadsafe(self._ready.set)

    def _soon(self, coroutine: Any) -> None:
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop has been closed: the pool is gone
            coroutine.close()
            return
        self._at_work.add(future)  # the loop itself does not keep what waits for something that nobody else keeps
        future.add_done_callback(self._at_work.discard)

    def close(self) -> None:
        """Tell the node to end, and let go of its channels."""
        self._closed = True
        self._tell(Kind.STOP, None)
        if self._control is not None:
            self._control.close()
