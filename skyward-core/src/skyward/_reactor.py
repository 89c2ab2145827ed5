"""One thread that waits on the local sockets of a pool, and calls back what arrives and what is due.

Callers write to a socket themselves, on their own thread, and only what the kernel does not take at once is left to
the reactor. So a short task costs one hand-over between threads, on the way back (about 7 us), where an asyncio loop
would cost one each way (130 to 230 us measured).
"""

from __future__ import annotations

import _thread
import contextlib
import heapq
import itertools
import logging
import math
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Buffer, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from skyward._interrupts import shield
from skyward._waiting import AutoResetEvent, acquire
from skyward.errors import ProtocolError
from skyward.worker.protocol import FrameError, FrameReader, Kind, head_of

if TYPE_CHECKING:
    from skyward._guest_loop import GuestLoop
    from skyward.spi.transport import Receiver, Watcher

__all__ = ["Reactor", "SocketLink"]

_log = logging.getLogger("skyward.reactor")
_STAND_BY = 0.005
"""Seconds that the reactor's thread leaves the sockets alone after a caller has waited on them itself: the next one is
likely to come soon, and taking the sockets back for so short a time would cost it more than it takes."""
_IOV = 1000
"""Parts that one ``sendmsg`` takes (IOV_MAX is 1024 on Linux and macOS)."""


class Reactor:
    """Waits on sockets and timers until it is closed. Callbacks run on its thread and must not block."""

    def __init__(self, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._closing = False
        self._closed = False
        self._wake_lock = threading.Lock()  # the pipe's number may be another file's once it is closed
        self._turning = threading.Lock()  # held by the thread that waits on the sockets
        self._turner = 0  # which one that is, by its identifier
        self._guest: GuestLoop | None = None  # what of asyncio is turned with the sockets
        self._invited = False
        self._rounds = 0
        self.busy: Callable[[], int] = lambda: True  # whether anybody waits for what may arrive; set by the dispatcher
        self._resume = AutoResetEvent()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, connection: socket.socket, receiver: Receiver) -> SocketLink:
        """Watch a connected socket and hand its frames to ``receiver``."""
        connection.setblocking(False)
        link = SocketLink(self, connection, receiver)
        self.call(lambda: self._register(link, connection))
        return link

    def _register(self, link: SocketLink, connection: socket.socket) -> None:
        with link.lock:  # else what is backed up between the look and the registration would wait for ever
            if connection.fileno() < 0:  # closed again already
                return
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.backed_up else 0)
            self._selector.register(connection, events, link)

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` on the reactor's thread soon."""
        with self._wake_lock:
            closed = self._closed
            if not closed:
                self._calls.append(function)
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_write, b"\0")
        if closed:
            self._guard(function)
        self._resume.set()

    def now(self, function: Callable[[], None]) -> None:
        """Run ``function`` here if nobody is at work on the sockets, else as soon as whoever is has time for it."""
        here = threading.get_ident()
        if self._turner == here:
            self._calls.append(function)
        elif (shield.installed or shield.covers_this_thread()) and self._turning.acquire(blocking=False):
            self._turner = here
            try:
                self._calls.append(function)  # behind what may have been left there a moment ago
                while self._calls:
                    self._guard(self._calls.popleft())
            finally:
                self._turner = 0
                self._turning.release()
        else:
            self.call(function)

    async def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` on the reactor's own loop, which it is given with the first such work; see ``Wire.run``."""
        from skyward._guest_loop import GuestLoop, on_loop

        with self._wake_lock:
            if self._closed:
                work.close()
                raise ConnectionError("the pool has ended")
            if self._guest is None:
                self._guest = guest = GuestLoop()
                self._selector.register(guest, selectors.EVENT_READ, guest)
        return await on_loop(self._guest, work, self.resume)

    def watch(self, connection: socket.socket, watcher: Watcher) -> None:
        """Call ``watcher`` when there is something to read; see ``Wire.watch``."""
        self._selector.register(connection, selectors.EVENT_READ, watcher)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run ``function`` on the reactor's thread after ``seconds``."""
        due = (time.monotonic() + seconds, next(self._count), function)
        self.call(lambda: heapq.heappush(self._timers, due))

    def close(self) -> None:
        """End the thread. Links that are still open are closed without a word to their receivers."""
        self._closing = True
        self.call(lambda: None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def watch_writes(self, link: SocketLink, connection: socket.socket, *, on: bool) -> None:
        """Wait for ``connection`` to take more bytes, or stop doing so."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if on else 0)
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.modify(connection, events, link)

    def forget(self, connection: socket.socket) -> None:
        """Stop watching a socket and close it."""
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(connection)
        connection.close()

    def wait(self, done: _thread.LockType) -> None:
        """Wait until ``done`` is released, and do the reactor's work meanwhile, if its thread leaves that to us.

        So a result goes straight to the thread that waits for it. To be called inside the shield: it is opened for
        the waiting alone, so that an interrupt is raised from here and leaves the reactor whole.
        """
        able = shield.covers_this_thread() and (self._guest is None or not self._guest.kept_out())
        if not able or not self._turning.acquire(blocking=False):
            self._invited = able  # for the next time
            with shield.window():
                acquire(done)
            return
        self._turner = threading.get_ident()
        try:
            self._rounds += 1
            while not done.acquire(blocking=False):
                shield.open()
                try:
                    ready = self._selector.select(self._until_next())
                finally:
                    shield.shut()
                self._handle(ready)
        finally:
            self._turner = 0
            self._turning.release()
            if self.busy():
                self._resume.set()

    def resume(self) -> None:
        """Somebody waits who will not do the reactor's work: have its thread go on."""
        self._resume.set()

    def _run(self) -> None:
        while not self._closing:
            with self._turning:
                self._turner = threading.get_ident()
                ready = self._selector.select(self._until_next())
                self._resume.clear()  # what was asked of it up to now is seen to in this round
                self._handle(ready)
                self._turner = 0
            if self._invited and not self.busy():
                self._stand_by()
        with self._turning:
            self._end()

    def _stand_by(self) -> None:
        """Leave the sockets to the callers, until none of them has waited for a moment or one asks to go on."""
        while not self._closing:
            rounds = self._rounds
            asked = self._resume.wait(_STAND_BY)
            if asked or self._rounds == rounds:
                break
        self._resume.clear()
        self._invited = False

    def _until_next(self) -> float | None:
        due = self._timers[0][0] if self._timers else math.inf
        if self._guest is not None and self._guest.due < due:
            due = self._guest.due
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _handle(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Call back what is ready and what is due."""
        if len(ready) > 1:  # the selector tells of several in no order of their own
            ready.sort(key=_second)
        for key, events in ready:
            if key.data is None:
                os.read(self._wake_read, 4096)
            else:
                try:
                    key.data.ready(events)
                except Exception:  # noqa: BLE001  one receiver's failure is not the others'
                    _log.exception("an internal callback failed; please report this")
        if self._guest is not None and self._guest.due <= time.monotonic():
            self._guard(self._guest.ready)
        while self._calls:
            self._guard(self._calls.popleft())
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._guard(heapq.heappop(self._timers)[2])

    def _end(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data is not None and key.data is not self._guest:
                key.data.close()
        if self._guest is not None:
            self._guard(self._guest.close)
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)
        while self._calls:
            self._guard(self._calls.popleft())
        self._selector.close()

    @staticmethod
    def _guard(function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:  # noqa: BLE001  one callback's failure is not the others'
            _log.exception("an internal callback failed; please report this")


def _second(ready: tuple[selectors.SelectorKey, int]) -> bool:
    """Whether a socket comes behind the others: a slot's behind the supervisor's.

    Lines that a task wrote past Python come from the supervisor, before the slot sends the task's result. They must not
    be overtaken when both are there at once, as over SSH, where one packet may bring them.
    """
    link = ready[0].data
    return link is not None and not link.first


class SocketLink:
    """A ``Link`` over a connected socket of this machine."""

    __slots__ = ("_backlog", "_connection", "_open", "_reactor", "_reader", "_receiver", "first", "lock")

    def __init__(self, reactor: Reactor, connection: socket.socket, receiver: Receiver) -> None:
        self._reactor = reactor
        self._connection = connection
        self._receiver = receiver
        self.first: bool = getattr(receiver, "first", False)
        self._reader = FrameReader()
        self._backlog: deque[memoryview] = deque()
        self.lock = threading.Lock()
        self._open = True

    def send(self, parts: Sequence[Buffer]) -> None:
        """Write a frame; what the kernel does not take now goes out later, in order."""
        with self.lock:
            if not self._open:
                return
            if self._backlog:
                self._backlog.extend(memoryview(part).cast("B") for part in parts)
                return
            if len(parts) == 1:
                part = parts[0]
                try:
                    sent = self._connection.send(part)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    return  # the reader sees the end as well, and reports it
                whole = memoryview(part).cast("B")
                if sent == len(whole):
                    return
                self._backlog.append(whole[sent:])
            else:
                self._backlog.extend(memoryview(part).cast("B") for part in parts)
                if self._flush():
                    return
            self._reactor.watch_writes(self, self._connection, on=True)

    @property
    def backed_up(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._backlog)

    def _flush(self) -> bool:
        """Write as much as the kernel takes; True when nothing is left."""
        backlog = self._backlog
        while backlog:
            try:
                sent = self._connection.sendmsg(list(itertools.islice(backlog, _IOV)))
            except BlockingIOError:
                return False
            except OSError:
                backlog.clear()
                return True
            while backlog and sent >= len(backlog[0]):
                sent -= len(backlog.popleft())
            if sent:
                backlog[0] = backlog[0][sent:]
        return True

    def ready(self, events: int) -> None:
        """The reactor says that the socket can be read or written."""
        if events & selectors.EVENT_WRITE:
            with self.lock:
                if self._open and self._flush():
                    self._reactor.watch_writes(self, self._connection, on=False)
        if events & selectors.EVENT_READ:
            self._read()

    def _read(self) -> None:
        try:
            count = self._connection.recv_into(self._reader.get_buffer())
            frames = self._reader.advance(count)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            self._lose(ProtocolError(str(error)) if isinstance(error, FrameError) else error)
            return
        if not count:
            self._lose(None)
            return
        for frame in frames:
            if frame.kind == Kind.REFUSED:
                self._lose(ProtocolError(f"the node closed the connection: {head_of(frame)}"))
                return
            self._receiver.on_frame(frame)

    def _lose(self, error: Exception | None) -> None:
        if self._open:
            self.close()
            self._receiver.on_lost(error)

    def close(self) -> None:
        """Close this end."""
        with self.lock:
            if not self._open:
                return
            self._open = False
            self._backlog.clear()
        self._reactor.call(lambda: self._reactor.forget(self._connection))
