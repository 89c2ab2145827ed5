"""``sys.stdout`` and ``sys.stderr`` of a slot: text that user code writes leaves the node line by line, as it comes."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from skyward.worker.lines import LineSplitter

if TYPE_CHECKING:
    from collections.abc import Callable

type Emit = Callable[[str, str, float], object]
"""Takes a line without its end, ``"stdout"`` or ``"stderr"``, and the time (seconds since the epoch)."""

_MANY_THREADS = 64
"""Threads that have written, from which on those that ended are looked for."""

_CHUNK = 1 << 20
"""Bytes cut into lines at once, so that a huge write need not stand in memory twice over as lines."""


class _Lane:
    """What one thread has written. Each thread has its own, so that their lines do not run into each other."""

    __slots__ = ("busy", "late", "lines", "lock", "splitter", "thread")

    def __init__(self) -> None:
        self.splitter = LineSplitter()
        self.thread = threading.current_thread()
        self.lock = threading.RLock()
        self.busy = False
        self.late: deque[bytes | None] = deque()
        self.lines: deque[str] = deque()


class NodeStream(io.TextIOBase):
    r"""A text stream that hands complete lines to ``emit``, which must not raise and may be called by any thread.

    Lines end at ``\n`` or ``\r``. A flushed progress bar is given out at the flush; any other unfinished line waits
    for its end or for ``drain``. Encoding never fails: what UTF-8 cannot hold is written as an escape. Closing does
    nothing, since the stream outlives the code that it is lent to. In a forked child, which shares no connection with
    the slot, everything goes to the file descriptor instead.
    """

    def __init__(self, emit: Emit, stream: str, fd: int) -> None:
        super().__init__()
        self._emit = emit
        self._stream = stream
        self._fd = fd
        self._pid = os.getpid()
        self._local = threading.local()
        self._lanes: list[_Lane] = []
        self._lanes_lock = threading.RLock()
        self.touched = False  # whether anything was written since the last drain
        self._buffer = _ByteStream(self)
        self.mode = "w"

    @property
    def name(self) -> str:
        return f"<{self._stream}>"

    @property
    def buffer(self) -> _ByteStream:
        return self._buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    @property
    def newlines(self) -> None:  # type: ignore[override]
        return None

    @property
    def line_buffering(self) -> bool:
        return True

    @property
    def write_through(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._fd

    def reconfigure(self, **options: object) -> None:
        """Accepted, as ``TextIOWrapper`` has it, and without effect."""

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.feed(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        if self._pid == os.getpid():
            self._process(None)

    def close(self) -> None:
        self.flush()

    def feed(self, data: bytes) -> None:
        """Take bytes, as ``buffer.write`` does."""
        if self._pid == os.getpid():
            for start in range(0, len(data), _CHUNK):
                self._process(data[start : start + _CHUNK])
        else:
            _write_all(self._fd, data)

    def drain(self) -> None:
        """Give out every thread's unfinished line. A task has ended: what comes next belongs to another one."""
        self.touched = False
        with self._lanes_lock:
            lanes = list(self._lanes)
        for lane in lanes:
            self._finish(lane)
        self._forget(lanes)

    def _process(self, data: bytes | None) -> None:
        lane = self._lane()
        self.touched = True
        lane.late.append(data)
        if lane.busy:
            # A signal handler writes while its own thread is in here: the outer call takes it along.
            return
        with lane.lock:
            lane.busy = True
            try:
                while lane.late:
                    part = lane.late.popleft()
                    self._give_out(lane, lane.splitter.refresh() if part is None else lane.splitter.feed(part))
            finally:
                lane.busy = False

    def _give_out(self, lane: _Lane, lines: list[str]) -> None:
        # By way of the lane: lines that an interrupt keeps from going out now go with the next ones.
        lane.lines.extend(lines)
        if lane.lines:
            now = time.time()
            while lane.lines:
                self._emit(lane.lines.popleft(), self._stream, now)

    def _finish(self, lane: _Lane) -> None:
        with lane.lock:
            self._give_out(lane, lane.splitter.flush())

    def _lane(self) -> _Lane:
        lane: _Lane | None = getattr(self._local, "lane", None)
        if lane is None:
            lane = self._local.lane = _Lane()
            with self._lanes_lock:
                self._lanes.append(lane)
                gone = [] if len(self._lanes) <= _MANY_THREADS else [x for x in self._lanes if not x.thread.is_alive()]
            for other in gone:
                self._finish(other)
            self._forget(gone)
        return lane

    def _forget(self, lanes: list[_Lane]) -> None:
        with self._lanes_lock:
            self._lanes[:] = [lane for lane in self._lanes if lane not in lanes or lane.thread.is_alive()]


class _ByteStream(io.BufferedIOBase):
    """``sys.stdout.buffer``: bytes go the same way as text."""

    def __init__(self, owner: NodeStream) -> None:
        super().__init__()
        self._owner = owner

    @property
    def name(self) -> str:
        return self._owner.name

    @property
    def mode(self) -> str:
        return "wb"

    @property
    def raw(self) -> Any:
        return self

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._owner.fileno()

    def write(self, data: Any, /) -> int:
        with memoryview(data) as view:
            self._owner.feed(view.tobytes())
            return view.nbytes

    def flush(self) -> None:
        self._owner.flush()

    def close(self) -> None:
        self.flush()


def install(stdout: NodeStream, stderr: NodeStream) -> None:
    """Make these the process's streams, those of ``sys.__stdout__`` and ``sys.__stderr__`` included.

    To be called before each task: the one before may have put others in their place. Costs less than a microsecond.
    """
    sys.stdout = sys.__stdout__ = stdout  # type: ignore[assignment,misc]
    sys.stderr = sys.__stderr__ = stderr  # type: ignore[assignment,misc]


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
