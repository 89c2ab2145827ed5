"""Futures of tasks. A thread of their own completes them, since their callbacks are the user's code."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyward._engine import Engine
    from skyward._task import Task

__all__ = ["Completer", "TaskFuture"]


class TaskFuture(concurrent.futures.Future[Any]):
    """A future whose ``cancel`` also drops a task that waits; one that runs goes on, as ``concurrent.futures`` has it."""

    def __init__(self, completer: Completer, task: Task) -> None:
        super().__init__()
        self._completer = completer
        self._pending_task = task

    def cancel(self) -> bool:
        """Cancel the task unless it runs or has ended; True when it never runs."""
        if self.done():
            return self.cancelled()
        return self._completer.withdraw(self, self._pending_task)


class Completer:
    """Sets the results of futures, one after another, on one thread that starts with the first and ends with the pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ended: queue.SimpleQueue[tuple[TaskFuture, Task] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="skyward-futures", daemon=True)
        self._thread.start()
        engine.at_leave(self.close)

    def submit(self, task: Task) -> TaskFuture:
        """Dispatch a task and return its future."""
        future = TaskFuture(self, task)
        task.on_done = lambda ended: self._ended.put((future, ended))
        task.on_start = future.set_running_or_notify_cancel
        self._engine.dispatcher.submit([task])
        return future

    def withdraw(self, future: TaskFuture, task: Task) -> bool:
        """Take a task out of the queue; False when a slot has it."""
        if not self._engine.dispatcher.withdraw(task):
            return False
        return super(TaskFuture, future).cancel() and future.set_running_or_notify_cancel() is False

    def close(self) -> None:
        """Complete what has ended, and stop."""
        self._ended.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _work(self) -> None:
        while (item := self._ended.get()) is not None:
            future, task = item
            result, error = task.outcome()
            if future.cancelled():
                continue
            if not future.running():
                future.set_running_or_notify_cancel()
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
            del item, future, task, result, error
