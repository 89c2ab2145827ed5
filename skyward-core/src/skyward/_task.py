"""One dispatched call on the client, from its submission to its outcome."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skyward import _codec
from skyward.errors import SerializationError
from skyward.worker.protocol import UNPICKLABLE

if TYPE_CHECKING:
    from skyward._modules import Bundle
    from skyward._together import Alone, Team
    from skyward.worker.protocol import Frame

__all__ = ["Task"]

_numbers = itertools.count(1)


class Task:
    """What is to run, where it stands, and how it ended.

    The outcome stays as it came off the wire until somebody asks for it, so that the thread that waits for the result
    is the one that unpickles it.
    """

    __slots__ = (
        "bundle",
        "cancelled",
        "encoded",
        "error",
        "frame",
        "name",
        "node",
        "number",
        "on_done",
        "on_start",
        "payload",
        "place",
        "rank",
        "retries",
        "seconds",
        "started",
        "team",
    )

    def __init__(
        self,
        encoded: _codec.EncodedFunction,
        payload: _codec.Payload,
        bundle: Bundle,
        *,
        node: int | None = None,
        retries: int = 0,
    ) -> None:
        self.number = next(_numbers)
        self.encoded = encoded
        self.payload = payload
        self.bundle = bundle
        self.name = encoded.name
        self.node = node
        self.retries = retries
        self.cancelled = False
        self.started = 0.0
        self.seconds = 0.0
        self.place = (0, 0)
        self.frame: Frame | None = None
        self.error: BaseException | None = None
        self.on_done: Callable[[Task], None] | None = None
        self.on_start: Callable[[], object] | None = None
        self.team: Team | Alone | None = None  # of a function that runs together with others, or could
        self.rank = 0  # among those

    @property
    def shares_fate(self) -> bool:
        """Whether it is part of a group, whose ranks end together."""
        return self.team is not None and self.team.shares_fate

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.frame is not None or self.error is not None

    def outcome(self) -> tuple[Any, BaseException | None]:
        """The result, or the error: of the function, of its pickling, or of the road."""
        frame, self.frame = self.frame, None
        if frame is None:
            return None, self.error or RuntimeError("the outcome was taken already")
        try:
            return _codec.decode(frame.buffers[0], frame.buffers[1:]), None
        except Exception as error:  # noqa: BLE001  unpickling runs the user's own code
            return None, self.unreadable(error, f"{type(error).__name__}: {error}")

    def unreadable(self, cause: BaseException, what: str) -> SerializationError:
        """The error of a result that cannot be unpickled here; ``what`` says what happened instead."""
        node, slot = self.place
        message = (
            f"the result of {self.name} cannot be unpickled on the client: {what}; "
            "return values of types that the client can import"
        )
        error = SerializationError(message, path="result", node=node, slot=slot)
        error.__cause__ = cause
        return error

    def fail(self, frame: Frame, how: int) -> None:
        """Take in the report of a failure."""
        node, slot = self.place
        if how == UNPICKLABLE:
            path, reason = pickle.loads(frame.buffers[0])
            message = f"the result of {self.name} cannot be pickled: {path}: {reason}"
            self.error = SerializationError(message, path=path, node=node, slot=slot)
            return
        from skyward._failure import decode

        self.error = decode(bytes(frame.buffers[0]), node=node, slot=slot)
