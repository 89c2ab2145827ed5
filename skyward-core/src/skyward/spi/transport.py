"""The contract between the pool and the road to one machine: how it is reached, made ready and talked to."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Buffer, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import frozen

from skyward.model.image import Image
from skyward.worker.protocol import Frame

if TYPE_CHECKING:
    from skyward.model.bootstrap import Step

__all__ = ["Interpreter", "Link", "PhaseReport", "Receiver", "Transport", "Watcher", "Wire"]

type PhaseReport = Callable[[str, Literal["started", "completed"], float | None], None]
"""Called with a bootstrap phase, its state, and on completion the seconds that it took."""


@frozen(kw_only=True)
class Interpreter:
    """The Python that a machine's slots run under.

    Attributes:
        python: path of the interpreter on the machine; ``None`` for the one that the supervisor runs under already.
        front: folders put first on ``sys.path`` there.
        back: folders put last.
    """

    python: str | None = None
    front: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


class Receiver(Protocol):
    """Takes what arrives on a link. Called on the transport's own thread: it must not block."""

    def on_frame(self, frame: Frame, /) -> None:
        """A whole frame has arrived."""

    def on_lost(self, error: Exception | None, /) -> None:
        """The link has ended; ``None`` when this end closed it or the peer did so in order."""


class Link(Protocol):
    """Frames to one socket of a node."""

    def send(self, parts: Sequence[Buffer], /) -> None:
        """Write a frame, from any thread, without waiting for the peer; what cannot go out yet is kept in order.

        Errors are not raised here: they arrive as ``Receiver.on_lost``.
        """

    def close(self) -> None:
        """Close this end; ``on_lost`` is not called for it."""


class Watcher(Protocol):
    """Is told that a socket can be read. Called on the transport's own thread: it must not block."""

    @property
    def first(self) -> bool:
        """Whether it goes before the links to slots that are ready at the same time."""
        ...

    def ready(self, events: int, /) -> None:
        """There is something to read, or the end of it; ``events`` is as of ``selectors``."""

    def close(self) -> None:
        """The pool ends: let go of the socket."""


class Wire(Protocol):
    """The pool's own thread for input and output.

    A transport that ends in sockets of this machine needs ``add`` only. The others are for one that is built on
    asyncio: what belongs to a connection then runs between two rounds of that thread, be it as a coroutine (``run``),
    by a call (``now``) or because something has come (``watch``), and never two of these at the same time. A caller
    that waits for a result takes the thread's place meanwhile, so none of it may depend on the thread.
    """

    def add(self, connection: socket.socket, receiver: Receiver, /) -> Link:
        """Watch a connected stream socket, hand its frames to ``receiver``, and return the link to write on."""
        ...

    async def run[T](self, work: Coroutine[Any, Any, T], /) -> T:
        """Await a coroutine on the asyncio loop of that thread. A cancellation is passed on to it, and its end awaited.

        Raises:
            ConnectionError: the pool has ended.
        """
        ...

    def now(self, function: Callable[[], None], /) -> None:
        """Call ``function``, from any thread: at once if nobody else is at work there, else soon, in order."""
        ...

    def watch(self, connection: socket.socket, watcher: Watcher, /) -> None:
        """Tell ``watcher`` when a non-blocking socket can be read; to be called there."""
        ...

    def forget(self, connection: socket.socket, /) -> None:
        """Stop watching a socket, and close it; to be called there."""
        ...


class Transport(Protocol):
    """The road to one machine. Its coroutines run on the pool's event loop."""

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        """Make the machine ready for its slots; idempotent. ``steps`` is what plugins add, to be run last.

        What it raises decides what becomes of the machine. Whichever it is, core asks ``describe`` first, and a machine
        that has ended is replaced. Anything else than these is reported as a bug of the plugin.

        Raises:
            BootstrapError: the machine could be talked to, and its preparation failed: with the phase, the command and
                its last lines. It would fail on every machine like this one, so the pool fails. That is also for one
                that refuses this client for good, or whose host key is not the one that is expected.
            ConnectionError: the machine cannot be reached, or the connection was lost and cannot be made again; that
                has been tried for long enough. It may be the machine's fault: another one is bought for its node, once.
            NodeLost: the machine is known to have ended. Another one is bought.
        """
        ...

    def open(self, name: str, receiver: Receiver, /) -> Awaitable[Link]:
        """Open a link to ``control`` or ``slot-N`` of the node and send the greeting.

        Raises:
            ConnectionError: the machine or the socket cannot be reached now. Core tries again while the machine may
                still come back.
            NodeLost: the machine or its supervisor has ended, or another one answers in its place.
        """
        ...

    async def close(self) -> None:
        """Let go of the road; the machine is left as it is."""
        ...
