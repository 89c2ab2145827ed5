"""Ctrl-C, SIGTERM and SIGHUP strike between two bytecodes of the main thread: here they wait until that does no harm.

While a pool is open, its handlers stand in the place of Python's default ones (and of no others). Code that must not
be torn apart, such as handing a task to a slot, runs inside the ``shield``: a signal that comes meanwhile is raised
at its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType

from skyward import _wakeup

__all__ = ["hold", "install", "release", "shield", "told_to_end"]

type _Behind = tuple[int, _Behind] | None


class Shield:
    """As a context manager, puts off the signals of the main thread; in another thread, which gets none, does nothing.

    ``installed`` says whether the handlers are in place. ``window`` opens it for what takes long and may be torn off.
    """

    __slots__ = ("_behind", "_depth", "_entered_by", "_main", "_pending", "installed")

    def __init__(self) -> None:
        self._main = threading.main_thread().ident
        self._depth = 0
        self._pending = 0
        self._behind: _Behind = None  # the depths behind the windows that are open, the innermost first
        self._entered_by: set[CodeType] = set()
        self.installed = False

    def covers_this_thread(self) -> bool:
        """Whether no signal can strike inside the shield here."""
        return self.installed or threading.get_ident() != self._main

    def entered_by[**P, R](self, function: Callable[P, R]) -> Callable[P, R]:
        """Let no signal strike where this function begins, whose first statement enters the shield; it is no closure.

        For the end of a block: a signal that strikes before it has begun would be all that becomes of it.
        """
        self._entered_by.add(function.__code__)
        return function

    @contextlib.contextmanager
    def window(self) -> Iterator[None]:
        """Let a signal strike inside, however deep the shield; the first one that does closes it, and those around."""
        self.open()
        try:
            yield
        finally:
            self.shut()

    def open(self) -> None:
        """As ``window``; ``shut`` must follow."""
        if threading.get_ident() == self._main:
            self._behind, self._depth = (self._depth, self._behind), 0
            if self._pending:
                self._strike()

    def shut(self) -> None:
        """Close what ``open`` opened last, if no signal did."""
        # No signal strikes between the last lines, which call nothing.
        if threading.get_ident() == self._main and self._behind:
            depth, self._behind = self._behind
            self._depth += depth

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What the handlers do."""
        if self._depth or (frame is not None and self._is_entered_next(frame)):
            self._pending = number
            return
        depth, behind = 0, self._behind
        while behind:
            depth += behind[0]
            behind = behind[1]
        self._depth, self._behind = depth, None
        _raise(number, frame)

    def _is_entered_next(self, frame: FrameType) -> bool:
        code = frame.f_code
        return code is _ENTER or (code in self._entered_by and frame.f_lasti <= 0)

    def _strike(self) -> None:
        number = self._pending
        if number and not self._depth:
            self._pending = 0
            self.handle(number, None)

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.get_ident() == self._main:
            if self._depth:
                self._depth -= 1
            else:  # a handler of the program's own has raised, before the window that is open could be closed
                self._behind = None
            if self._pending:
                self._strike()


_ENTER = Shield.__enter__.__code__
_ENDS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a program that has no handlers of its own: ``kill``, and a terminal or a connection that is closed."""

shield = Shield()
_lock = threading.Lock()
_pools = 0
_told_to_end = False


def install() -> None:
    """Put the handlers in the place of the default ones, before ``hold``, so that the shield covers that already.

    SIGTERM and SIGHUP then end the program by ``SystemExit`` while a pool is open, so that its blocks are left in order
    and its machines ended. Does nothing where the program has handlers of its own or ignores the signal, as after
    ``nohup``, or outside the main thread, which alone may install any.
    """
    if not _in_main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)
    shield.installed = signal.getsignal(signal.SIGINT) is _handle
    for number in _ENDS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _handle)


def hold() -> None:
    """A pool is being opened. To be called inside the shield; ``release`` must follow."""
    global _pools
    with _lock:
        _pools += 1
    if _in_main_thread():
        _wakeup.start((signal.SIGINT, *_ENDS))


def release() -> None:
    """A pool is closed: with the last one the signals mean again what they meant before."""
    global _pools
    with _lock:
        _pools -= 1
    # Where the last pool is closed by another thread, the handlers stay, and do what the default ones would have done.
    if _pools or not _in_main_thread():
        return
    _wakeup.stop()
    _uninstall()


def told_to_end() -> bool:
    """Whether SIGTERM or SIGHUP has ended this program, or is about to, by its ``SystemExit``."""
    return _told_to_end


def _uninstall() -> None:
    for number in _ENDS:
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is _handle:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    shield.installed = False


def _after_fork() -> None:
    """A copy of the process has no pools of its own to end, so the signals mean in it what they meant before."""
    global _pools
    if _pools:
        _pools = 0
        _wakeup.forget()
        _uninstall()


os.register_at_fork(after_in_child=_after_fork)


def _handle(number: int, frame: FrameType | None) -> None:
    shield.handle(number, frame)


def _raise(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    if _pools:
        global _told_to_end
        _told_to_end = True
        raise SystemExit(128 + number)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
