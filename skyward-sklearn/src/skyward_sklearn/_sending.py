"""The batches of one ``Parallel`` on their way to the pool and back."""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skyward import ComputeFunction, OutcomeUnknown, PendingCompute, SerializationError, SlotDied
from skyward_sklearn._refusals import not_returned, not_sent
from skyward_sklearn._remote import Call, Ran, Sealed, Terms, named
from skyward_sklearn._versions import Versions

if TYPE_CHECKING:
    from skyward import ComputePool
    from skyward.spi import Sharing
    from skyward_sklearn._remote import Initializer
    from skyward_sklearn._threads import Limits

__all__ = ["Sender", "Sent"]

_numbers = itertools.count(1)

_log = logging.getLogger("skyward.joblib")

_LAST_PATIENCE = 8.0
"""Seconds that aborting waits for tasks to stop; a node kills a stubborn one after 3."""


_AGAIN = """\
What others have written, such as the fits of a search, may be run again where a machine is lost inside of
`with joblib.parallel_config("skyward", retry=1):`"""


class Sent:
    """A batch that was sent, from its submission to its outcome."""

    __slots__ = ("callback", "calls", "future", "size", "unwanted")

    def __init__(self, calls: Sequence[Call], callback: Callable[[Sent], None]) -> None:
        self.calls = calls
        self.callback = callback
        self.size = len(calls)
        self.future: concurrent.futures.Future[Ran] | None = None
        self.unwanted = False

    def ran(self) -> Ran:
        """How it ran. Raises what one of its calls raised, or why the batch could not be run."""
        assert self.future is not None
        error = self.future.exception()
        if isinstance(error, SerializationError):
            raise not_returned(error)
        if isinstance(error, OutcomeUnknown | SlotDied):
            error.add_note(_AGAIN)
        if error is not None:
            raise _with_traceback(error, "on the node")
        return self.future.result()


class Sender:
    """Sends batches to a pool, and calls back when each has ended.

    Not more than ``limit`` are at the pool at a time; with ``None`` as many as there are, and the pool has them wait.

    The callbacks come one after another on a thread of this sender's. They take the next items from the iterator that
    the user gave, which may take its time, or wait for another ``Parallel`` on the same pool.
    """

    def __init__(
        self,
        pool: ComputePool,
        *,
        limit: int | None,
        level: int,
        threads: Limits,
        initializer: Initializer | None,
        retry: int,
        sharing: Sharing | None,
    ) -> None:
        self._pool = pool
        self._sharing = sharing
        self._terms = Sealed(Terms(Versions.of_client(), threads, level, next(_numbers)))
        self._initializer = initializer
        self._retry = retry
        self._limit = limit
        self._functions: dict[tuple[str, int], ComputeFunction[..., Ran]] = {}
        self._lock = threading.Lock()
        self._waiting: deque[Sent] = deque()
        self._flying: set[Sent] = set()
        self._ended: queue.SimpleQueue[Sent | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._aborted = False

    def send(self, calls: Sequence[Call], callback: Callable[[Sent], None]) -> Sent:
        """Have the calls run as one batch. What keeps it from being sent is its outcome, and is not raised here."""
        sent = Sent(calls, callback)
        with self._lock:
            if self._aborted:  # joblib had not heard of it yet, and has no use for the outcome
                return sent
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="skyward-joblib", daemon=True)
                self._thread.start()
            if self._limit is not None and len(self._flying) >= self._limit:
                self._waiting.append(sent)
                return sent
            self._flying.add(sent)
        self._dispatch(sent)
        return sent

    def _dispatch(self, sent: Sent) -> None:
        name = _name(sent.calls[0][0])
        try:
            function = self._function(name, sent.calls)
            pending = PendingCompute(function, (self._terms, self._initializer, sent.calls))
            pending.sharing = self._sharing
            sent.future = self._pool.submit(pending)
        except SerializationError as error:
            sent.future = _failed(not_sent(error, name))
        except Exception as error:  # noqa: BLE001  joblib waits for a callback, and looks for the error there
            sent.future = _failed(_with_traceback(error, "here, where it was sent").with_traceback(None))
        sent.calls = ()
        sent.future.add_done_callback(lambda _: self._landed(sent))
        if self._aborted:  # meanwhile, on another thread, which did not see this future
            _stop(sent.future)

    def _function(self, name: str, calls: Sequence[Call]) -> ComputeFunction[..., Ran]:
        """What is sent for a batch. There is one for each name, so that events tell the functions apart."""
        retry = min(self._retries(call[0]) for call in calls)
        known = self._functions.get((name, retry))
        if known is None:
            known = self._functions[name, retry] = ComputeFunction(named(name), retry)
        return known

    def _retries(self, function: object) -> int:
        """How many more times a call may be run: a compute function says so itself."""
        return function.retry if isinstance(function, ComputeFunction) else self._retry

    def _landed(self, sent: Sent) -> None:
        with self._lock:
            self._flying.discard(sent)
            following = self._waiting.popleft() if self._waiting else None
            if following is not None:
                self._flying.add(following)
        if following is not None:
            self._dispatch(following)
        self._ended.put(sent)

    def _work(self) -> None:
        while (sent := self._ended.get()) is not None:
            if not sent.unwanted:
                try:
                    sent.callback(sent)
                except BaseException:  # noqa: BLE001 -- the user's iterator runs in it, and others wait for this thread
                    _log.exception("joblib could not take in a result")
            del sent

    def abort(self) -> None:
        """Stop all that was sent, and wait until it has stopped. No callback comes any more for it."""
        with self._lock:
            self._aborted = True
            self._waiting.clear()
            flying = list(self._flying)
        for sent in flying:
            sent.unwanted = True
        futures = [sent.future for sent in flying if sent.future is not None]
        for future in futures:
            _stop(future)
        if threading.current_thread() is not self._thread:
            concurrent.futures.wait(futures, timeout=_LAST_PATIENCE)

    def forget(self) -> None:
        """Look at arrays anew: they may not be what they were."""
        if self._sharing is not None:
            self._sharing.forget()

    def close(self) -> None:
        """End the thread of the callbacks once it has nothing left to do."""
        self._ended.put(None)


def _stop(future: Any) -> None:
    """Drop what waits, and interrupt what runs."""
    future.interrupt() if hasattr(future, "interrupt") else future.cancel()


def _failed(error: Exception) -> concurrent.futures.Future[Ran]:
    future: concurrent.futures.Future[Ran] = concurrent.futures.Future()
    future.set_exception(error)
    return future


def _with_traceback[E: BaseException](error: E, where: str) -> E:
    """Note on an error where it was raised: joblib takes the traceback off that says so."""
    if error.__traceback__ is not None:
        lines = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error.add_note(f"Traceback {where} (most recent call last):\n{lines}")
    return error


def _name(function: object) -> str:
    """What a function calls itself; the type's name for a callable without a name."""
    return str(getattr(function, "__name__", None) or type(function).__name__)
