"""One slot: a process that runs tasks one after another in its main thread.

It reads a task, runs it, writes the result, and reads the next, which may have been sent ahead. Functions arrive once
and are then named by their digest. Whatever a task prints goes to the client on the same socket, ahead of its result.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import socket
import time
import traceback
from collections.abc import Buffer, Callable, Sequence
from types import SimpleNamespace
from typing import Any

from skyward.worker import context, failure, modules, pickling, streams
from skyward.worker.ahead import ImportsAhead
from skyward.worker.bound import RENEWED, Binding
from skyward.worker.channel import Channel
from skyward.worker.group import Meeting
from skyward.worker.interrupts import Interrupts
from skyward.worker.page import Page
from skyward.worker.protocol import END, RAISED, SHARES, TASK, UNPICKLABLE, Frame, Kind, encode, head_of
from skyward.worker.raw import RawEnd
from skyward.worker.shared import Shelf
from skyward.worker.streams import NodeStream

__all__ = ["Slot"]

type _Outcome = tuple[Kind, int, float, list[Buffer]]
"""The kind of frame that reports the end of a task, how it failed (0 if it did not), the seconds that it took, and the
report itself."""


class Slot:
    """Serves tasks from a socket until its process is ended.

    Args:
        listener: listening Unix socket of this slot.
        token: what the client must show.
        page: memory shared with the supervisor.
        cluster: what ``instance_info()`` reports inside a task.
        raw: what is written past Python.
        shelf: what tasks share.
        generation: how many processes have been this slot, this one included.
        preload: modules to be imported before the first task.
    """

    def __init__(
        self,
        listener: socket.socket,
        token: bytes,
        page: Page,
        cluster: context.ClusterContext,
        *,
        raw: RawEnd,
        shelf: Shelf,
        generation: int,
        preload: Sequence[str] = (),
    ) -> None:
        self._page = page
        self._cluster = cluster
        self._raw = raw
        self._shelf = shelf
        self._asked: set[bytes] = set()  # for what the task that is held back needs
        self._held_back = 0
        self._generation = generation
        self._pid = os.getpid()
        self._functions: dict[bytes, SimpleNamespace] = {}
        self._bundles: set[bytes] = set()
        self._meeting = Meeting(cluster.node, cluster.worker)
        self._binding = Binding()
        self._interrupts = Interrupts(page)
        self._imports = ImportsAhead(preload) if preload else None
        begin = None if self._imports is None else self._imports.begin  # once a client has been told that we are here
        self._channel = Channel(listener, token, self._holdings, self._apply, begin)
        self._streams = (NodeStream(self._emit_line, "stdout", 1), NodeStream(self._emit_line, "stderr", 2))

    def serve(self) -> None:
        """Run tasks; never returns by itself."""
        context.current = self._cluster
        context.emit = self._emit_event
        faulthandler.enable(2)
        self._interrupts.arm()
        if self._imports is not None:
            streams.install(*self._streams)
        while True:
            self._interrupts.unblock()  # here, where nobody waits for it
            self._task(self._channel.receive())

    def _holdings(self) -> dict[str, object]:
        return {
            "generation": self._generation,
            "pid": self._pid,
            "started": self._page.started,
            "running": self._page.running,
            "recalled": self._page.recalled,
            "functions": list(self._functions),
            "modules": list(self._bundles),
        }

    def _apply(self, frame: Frame) -> bool:
        """Take in what tasks need; between tasks, and before any other client is told what is here.

        True when the task that is held back may be looked at again.
        """
        match frame.kind:
            case Kind.FUNCTION:
                (digest,) = head_of(frame)
                self._functions[digest] = SimpleNamespace(buffers=frame.buffers, function=None)
            case Kind.MODULES:
                (digest,) = head_of(frame)
                modules.install(pickle.loads(frame.buffers[0]))  # from the client that started us
                self._bundles.add(digest)
                for held in self._functions.values():  # they may hold on to what the bundle has just replaced
                    held.function = None
            case Kind.FORGET:
                for digest in head_of(frame):
                    self._functions.pop(digest, None)
            case Kind.HEAD:
                self._cluster.head_addr, self._cluster.head_port = head_of(frame)
            case Kind.GATHER | Kind.GROUP | Kind.RENEW:
                self._gather(frame)
            case Kind.SHARE:
                digest, offset, size = head_of(frame)
                return self._take(digest, offset, size, frame.buffers[0])
            case Kind.LOOK:
                digests, cancelled = head_of(frame)
                self._asked.difference_update(digests)
                if cancelled and cancelled == self._held_back:
                    self._page.cancel(cancelled)  # as the supervisor does, who may hear of it later
                    return True
                return not self._asked
        return False

    def _gather(self, frame: Frame) -> None:
        """A group is to run here: say whether it can, and at which port; or hear who is in it."""
        if frame.kind == Kind.RENEW:
            os._exit(RENEWED)  # all that ran here has been received: the client sends this to an empty slot
        *which, last = head_of(frame)
        if frame.kind == Kind.GROUP:
            self._meeting.announce(*which)
            self._binding.announce(which[0], last)
        elif not which[2]:
            self._meeting.part(which[1])
        else:
            if which[3]:  # a framework that is imported by half would count as not there; the task would wait as well
                self._await_imports(lambda: False)
            told = self._binding.told(which.pop(), last)
            self._channel.tell(encode(Kind.PORT, head=(*self._meeting.asked(*which), *told)))

    def _await_imports(self, is_cancelled: Callable[[], bool]) -> None:
        """Return when what is imported ahead is there, or when the task that waits for it is cancelled."""
        if self._imports is not None and self._imports.wait(is_cancelled):
            for stream in self._streams:
                stream.drain()  # into nothing, as long as there are imports
            self._imports = None

    def _take(self, digest: bytes, offset: int, size: int, chunk: Buffer) -> bool:
        """Take in bytes of a shared content; True when all that was asked for is here."""
        whole = self._shelf.take(digest, offset, size, chunk)
        if whole is not None:
            self._channel.tell(encode(Kind.SHARED, head=(digest,)))
            self._asked.discard(digest)
            if not self._asked:
                return True
        return bool(self._held_back) and self._interrupts.is_cancelled(self._held_back)

    def _has_what_it_needs(self, sequence: int, frame: Frame) -> bool:
        """Whether a task's shared arguments are here. Else it is held back, and they are asked for."""
        missing = self._shelf.missing(frame.buffers[-1])
        self._held_back = 0
        if not missing or self._interrupts.is_cancelled(sequence) or sequence in self._page.recalled:
            return True
        self._asked = set(missing)
        self._held_back = sequence
        self._channel.hold_back(frame, encode(Kind.WANT, head=(missing,)))
        return False

    def _task(self, frame: Frame) -> None:
        sequence, acknowledged, lines, ahead, digest = TASK.unpack(frame.head)
        self._channel.acknowledge(acknowledged, lines)
        if frame.flags & SHARES and not self._has_what_it_needs(sequence, frame):
            return
        self._await_imports(lambda: self._interrupts.is_cancelled(sequence))
        if not self._binding.is_met(sequence) and self._page.started < sequence:
            os._exit(RENEWED)  # the task goes to the process that comes next
        if not self._page.start(sequence, frame.number, ahead=ahead):
            return
        self._cluster.task_id = frame.number
        streams.install(*self._streams)
        kind, how, seconds, report = self._outcome(sequence, digest, frame)
        frame.buffers = []
        self._interrupts.arm()
        for stream in self._streams:
            if stream.touched:
                stream.drain()
        self._raw.settle()
        # The raw lines come to the client by way of the supervisor: it is told how many to expect before the end.
        head = END.pack(sequence, self._page.raw_lines, seconds, how)
        parts = encode(kind, frame.number, buffers=report, raw_head=head)
        self._channel.send_result(sequence, parts, self._page.finish)

    def _outcome(self, sequence: int, digest: bytes, frame: Frame) -> _Outcome:
        """Run the task; returns what reports how it ended."""
        begun = time.perf_counter()
        try:
            if self._imports is not None:  # it was cancelled while it waited for them
                raise KeyboardInterrupt
            held = self._functions[digest]
            function = held.function
            if function is None:
                function = held.function = _loaded(held.buffers)
            buffers = frame.buffers
            if frame.flags & SHARES:
                if self._interrupts.is_cancelled(sequence):  # then it did not wait for what it needs
                    raise KeyboardInterrupt
                beside = self._shelf.merged(buffers)
            else:
                beside = buffers[1:]
            args, kwargs = pickle.loads(buffers[0], buffers=beside)
            buffers.clear()
            del beside
            self._binding.begin(sequence)
            self._meeting.begin(sequence)
            try:
                self._interrupts.open(sequence)
                result = function(*args, **kwargs)
            finally:
                self._interrupts.shut()
                self._meeting.end()
            if os.getpid() != self._pid:
                self._end_copy(None)
        except BaseException as error:  # noqa: BLE001  every way that a task can end is reported
            self._interrupts.shut()  # again: the interrupt may have struck in the line above
            self._meeting.end()
            if os.getpid() != self._pid:
                self._end_copy(error)
            seconds = time.perf_counter() - begun
            cancelled = isinstance(error, KeyboardInterrupt) and self._interrupts.is_cancelled(sequence)
            return Kind.FAILURE, RAISED, seconds, [failure.encode(error, cancelled=cancelled)]
        return self._result(time.perf_counter() - begun, result)

    @staticmethod
    def _end_copy(error: BaseException | None) -> None:
        """End this process, a copy of the slot that the task has made by ``os.fork`` and let run on to here.

        The result is the slot's alone to send.
        """
        code = 0
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            code = 1
            os.write(2, "".join(traceback.format_exception(error)).encode(errors="replace"))
        os._exit(code & 0xFF)

    @staticmethod
    def _result(seconds: float, result: object) -> _Outcome:
        try:
            data, buffers = pickling.dumps(result)
        except BaseException as error:  # noqa: BLE001  pickling runs the user's own code
            from skyward.worker.unpicklable import unpicklable_path

            found = unpicklable_path(result, "result") or ("result", f"{type(error).__name__}: {error}")
            return Kind.FAILURE, UNPICKLABLE, seconds, [pickle.dumps(found)]
        return Kind.RESULT, 0, seconds, [data, *buffers]

    def _emit_line(self, line: str, stream: str, timestamp: float) -> None:
        if self._imports is not None:
            return
        task = self._cluster.task_id or 0
        with self._interrupts:
            self._channel.send_output(
                lambda count: encode(Kind.LOG, task, (line, stream, timestamp, self._cluster.worker, count))
            )

    def _emit_event(self, event: object) -> None:
        task = self._cluster.task_id or 0
        data, buffers = pickling.dumps(event)
        with self._interrupts:
            self._channel.send_output(lambda count: encode(Kind.EVENT, task, (count,), [data, *buffers]))


def _loaded(buffers: list[Buffer]) -> Callable[..., Any]:
    """The function that came in a frame."""
    loaded = pickling.loads(buffers[0], buffers[1:])
    function: Callable[..., Any] = getattr(loaded, "__skyward_local__", loaded)
    return function
