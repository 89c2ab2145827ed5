"""Starting a supervisor from a shell that is about to end, as over SSH: it goes on by itself in the background."""

from __future__ import annotations

import fcntl
import os
import socket
import sys

from skyward.worker.greeting import listen

__all__ = ["detach"]


def detach(directory: str) -> socket.socket:
    """Make the node's folder and its control socket, and return the socket in a process of its own session.

    The calling process ends well as soon as a client can connect. If a supervisor serves the folder already it ends
    well at once, so whoever is not sure whether a start has succeeded may just start again. What the supervisor writes
    goes to the file beside the folder, with ``.log`` behind its name, and its process's number to ``pid`` inside.
    """
    os.makedirs(os.path.dirname(directory), mode=0o755, exist_ok=True)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(folder, fcntl.LOCK_EX)  # two that are started at once
    control = os.path.join(directory, "control.sock")
    if _is_served(control):
        os._exit(0)
    listener = listen(control)
    if os.fork():
        os.waitpid(-1, 0)
        os._exit(0)
    os.setsid()  # the end of the shell's session is not this one's
    child = os.fork()
    if child:
        with open(os.path.join(directory, "pid"), "w", encoding="ascii") as file:
            file.write(f"{child}\n")
        os._exit(0)
    os.close(folder)
    log = os.open(f"{directory}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    sys.stdout.flush()
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    return listener


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
