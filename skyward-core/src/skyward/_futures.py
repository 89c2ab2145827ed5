"""Futures of tasks. A thread of their own completes them, since their callbacks are the user's code."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skyward._interrupts import shield

if TYPE_CHECKING:
    from skyward._engine import Engine
    from skyward._task import Task

__all__ = ["Completer", "TaskFuture"]


class TaskFuture(concurrent.futures.Future[Any]):
    """A future whose ``cancel`` drops a task that waits; one that runs goes on, as ``concurrent.futures`` has it."""

    def __init__(self, completer: Completer, task: Task) -> None:
        super().__init__()
        self._completer = completer
        self._pending_task = task

    def cancel(self) -> bool:
        """Cancel the task unless it runs or has ended; True when it never runs."""
        if self.done():
            return self.cancelled()
        if not self._completer.withdraw(self, self._pending_task):
            return self.cancelled()
        super().cancel()
        self.set_running_or_notify_cancel()
        return True

    def interrupt(self) -> None:
        """Stop the task: one that waits is dropped, one that runs is interrupted on its node.

        The future ends once the task has, with ``TaskCancelled`` unless the task was done before.
        """
        self._completer.interrupt([self._pending_task])


class Completer:
    """Sets the results of futures, one after another, on a thread that lives as long as the pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ended: queue.SimpleQueue[tuple[TaskFuture, Task] | None] = queue.SimpleQueue()
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
            self._complete(*item)
            del item

    def _complete(self, future: TaskFuture, task: Task) -> None:
        result, error = task.outcome()
        if future.cancelled():
            return
        self._started(future)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
