"""Futures of tasks. A thread of their own completes them, since their callbacks are the user's code."""

from __future__ import annotations

import concurrent.futures
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skyward._interrupts import shield

if TYPE_CHECKING:
    from skyward._engine import Engine
    from skyward._task import Task

__all__ = ["Completer", "TaskFuture"]

_log = logging.getLogger("skyward.tasks")


class TaskFuture(concurrent.futures.Future[Any]):
    """A future whose ``cancel`` drops a task that waits; one that runs goes on, as ``concurrent.futures`` has it.

    ``place`` is the node and the slot that the task ran on, once it has ended.
    """

    def __init__(self, completer: Completer, task: Task) -> None:
        super().__init__()
        self.place = (0, 0)
        self._completer = completer
        self._pending_task: Task | None = task

    def cancel(self) -> bool:
        """Cancel the task unless it runs or has ended; True when it never runs."""
        task = self._pending_task
        if task is None or self.done() or not self._completer.withdraw(self, task):
            return self.cancelled()
        self.let_go()
        super().cancel()
        self.set_running_or_notify_cancel()
        return True

    def let_go(self) -> None:
        """The task has ended: whoever keeps the future need not keep the arguments."""
        task, self._pending_task = self._pending_task, None
        if task is not None:
            self.place = task.place

    def interrupt(self) -> None:
        """Stop the task: one that waits is dropped, one that runs is interrupted on its node.

        The future ends once the task has, with ``TaskCancelled`` unless the task was done before.
        """
        task = self._pending_task
        if task is not None:
            self._completer.interrupt([task])


class Completer:
    """Sets the results of futures, one after another, on a thread that lives as long as the pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ended: queue.SimpleQueue[Callable[[], object] | tuple[TaskFuture, Task] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="skyward-futures", daemon=True)
        self._thread.start()
        engine.at_leave(self.close)

    def submit(self, task: Task) -> TaskFuture:
        """Dispatch a task and return its future."""
        future = TaskFuture(self, task)
        task.on_done = lambda ended: self._deliver(future, ended)
        task.on_start = lambda: self._started(future)
        with shield:
            self._engine.dispatcher.submit([task])
        self._engine.reactor.resume()
        return future

    def withdraw(self, future: TaskFuture, task: Task) -> bool:
        """Take a task out of the queue; False when a slot has it, or had it and gave it back."""
        dispatcher = self._engine.dispatcher
        with dispatcher.lock:
            return not future.running() and dispatcher.withdraw(task)

    def interrupt(self, tasks: Sequence[Task]) -> None:
        """Stop tasks, wherever they are."""
        with shield:
            self._engine.dispatcher.cancel(tasks)

    def call(self, function: Callable[[], object]) -> None:
        """Have ``function`` called soon, on the thread that completes futures. May be used while objects are freed."""
        self._ended.put(function)

    def close(self) -> None:
        """Complete what has ended, and stop."""
        with self._lock:
            self._closed = True
        self._ended.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    @staticmethod
    def _started(future: TaskFuture) -> None:
        if not future.running():  # a task may come to a slot more than once: taken back, or run again after a death
            future.set_running_or_notify_cancel()

    def _deliver(self, future: TaskFuture, task: Task) -> None:
        with self._lock:
            if not self._closed:
                self._ended.put((future, task))
                return
        self._complete(future, task)  # the pool ended while the task was being submitted

    def _work(self) -> None:
        while (item := self._ended.get()) is not None:
            try:
                if isinstance(item, tuple):
                    self._complete(*item)
                else:
                    item()
            except BaseException:  # noqa: BLE001  of a callback, and no Exception: the others wait for this thread
                _log.exception("what was to be done at the end of a task has failed")
            del item

    def _complete(self, future: TaskFuture, task: Task) -> None:
        try:
            result, error = task.outcome()
        except BaseException as raised:  # noqa: BLE001  unpickling runs the user's own code, which may leave by sys.exit
            result, error = None, task.unreadable(raised, f"it raised {raised!r}")
        future.let_go()
        if future.cancelled():
            return
        self._started(future)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
