"""Endings that Ctrl-C, SIGTERM and SIGHUP do not cut short."""

from __future__ import annotations

import concurrent.futures
import contextlib
import sys
import threading
from collections.abc import Callable, Sequence

from skyward._waiting import wait_for

__all__ = ["Ending", "finish", "first_error", "in_background"]


class Ending(concurrent.futures.Future[None]):
    """How a function ends that runs in the background."""

    thread: threading.Thread | None = None

    def leave(self) -> None:
        """Once it is done: wait for its thread, which has nothing left to do but to end."""
        if self.thread is not None and self.done():
            self.thread.join()


def in_background(function: Callable[[], None], name: str) -> Ending:
    """Run ``function`` where no signal can interrupt it: on a thread, which the interpreter waits for at its end."""
    outcome = Ending()

    def work() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  handed to whoever waits
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    thread = threading.Thread(target=work, name=name)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down and starts none any more
        work()
    else:
        outcome.thread = thread
    return outcome


def finish(endings: Sequence[concurrent.futures.Future[None]], remaining: Callable[[], list[str]]) -> None:
    """Wait for endings to be through. Each interrupt meanwhile is answered with what is still being removed.

    The last interrupt is raised once they are through, else the first error; further errors are notes of it. To be
    called inside the shield.
    """
    interrupted: KeyboardInterrupt | SystemExit | None = None
    while True:
        try:
            wait_for(endings)
            break
        except (KeyboardInterrupt, SystemExit) as interrupt:
            interrupted = interrupt
            left = ", ".join(remaining()) or "the last connections"
            with contextlib.suppress(OSError):  # of a terminal that is closed
                print(f"still removing {left}: please wait, or they would go on costing", file=sys.stderr)  # noqa: T201
    error = first_error(endings)
    if interrupted is not None:
        raise interrupted from error
    if error is not None:
        raise error


def first_error(endings: Sequence[concurrent.futures.Future[None]]) -> BaseException | None:
    """The first error of endings that are through; further ones are notes of it."""
    errors = [failure for ending in endings if (failure := ending.exception()) is not None]
    for other in errors[1:]:
        errors[0].add_note(f"and, from another pool: {type(other).__name__}: {other}")
    return errors[0] if errors else None
