"""Refusing what would block or hang, with the form that works."""

from __future__ import annotations

import asyncio
import sys

from skyward._misuse import silence
from skyward.errors import UsageError

__all__ = ["refuse_in_running_loop"]


def refuse_in_running_loop(blocking: str, awaitable: str, *calls: object) -> None:
    """Raise when this thread runs an event loop, which a blocking call would freeze.

    ``calls`` are refused with it, so they need not warn as well that they were never dispatched. A notebook's cells run
    inside the kernel's loop, and block it by their nature: there it is allowed.

    Raises:
        UsageError: naming the awaitable form.
    """
    if asyncio._get_running_loop() is None or _in_notebook_cell():
        return
    silence(*calls)
    raise UsageError(f"`{blocking}` would block the event loop that runs in this thread; write `{awaitable}`")


def _in_notebook_cell() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)
