"""Noticing what code does that ought to be pure: sockets, processes, threads, waiting, imports."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Collection, Generator

__all__ = ["quietly"]

_LOUD = {
    "socket.__new__": "opens a socket",
    "socket.connect": "connects to the network",
    "socket.getaddrinfo": "looks a host name up",
    "socket.gethostbyname": "looks a host name up",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.fork": "forks",
    "_thread.start_new_thread": "starts a thread",
    "_thread.start_joinable_thread": "starts a thread",
    "time.sleep": "sleeps",
}
_listeners: dict[int, tuple[Collection[str], list[str]]] = {}
"""By thread: the modules that must not be imported, and what was noticed."""
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _listeners:
        return
    listener = _listeners.get(threading.get_ident())
    if listener is None:
        return
    banned, noticed = listener
    if event == "import":
        name = str(arguments[0])
        if name.partition(".")[0] in banned:
            noticed.append(f"imports {name}")
    elif event in _LOUD:
        noticed.append(_LOUD[event])


@contextlib.contextmanager
def quietly(banned: Collection[str] = ()) -> Generator[list[str]]:
    """Collect what this thread does meanwhile that pure code does not; each entry is a verb with its object.

    ``banned`` are top-level modules. They cannot be imported meanwhile, whether they were before or not.
    """
    global _hooked
    if not _hooked:  # an audit hook cannot be taken off again; without a listener it does nothing
        sys.addaudithook(_hook)
        _hooked = True
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in banned}
    noticed: list[str] = []
    _listeners[threading.get_ident()] = (banned, noticed)
    try:
        with contextlib.ExitStack() as stack:
            for name in banned:
                sys.modules[name] = None  # type: ignore[assignment]  # what the import system documents for "not to be had"
                stack.callback(sys.modules.pop, name, None)
            yield noticed
    finally:
        del _listeners[threading.get_ident()]
        sys.modules.update(hidden)
