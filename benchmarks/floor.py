"""The floor: what Python needs to have a function called in another process, and not a line more.

A blocking Unix socket to each worker, cloudpickle for whatever goes over it, and the function sent once. It knows no
errors, no output, no cancellation and no lost worker; whatever Skyward takes beyond it is the price of those.
"""

from __future__ import annotations

import pickle
import socket
import struct
import subprocess
import sys
from collections.abc import Buffer, Callable
from io import BufferedReader
from typing import Any

import cloudpickle

_SIZE = struct.Struct("!Q")
_AHEAD = 50
"""Calls that a worker is sent before their results are read."""


def framed(data: bytes) -> bytes:
    """Put the length in front of a message."""
    return _SIZE.pack(len(data)) + data


def read(file: BufferedReader) -> Any:
    """Read a message and unpickle it."""
    return pickle.loads(file.read(*_SIZE.unpack(file.read(_SIZE.size))))


class Worker:
    """One process and the socket to it."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "benchmarks.floor", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self.file = self.socket.makefile("rb")
        self.known: set[int] = set()

    def request(self, function: Callable[..., object], args: tuple[object, ...]) -> bytes:
        """The message that asks for a call; it carries the function the first time."""
        body = None if id(function) in self.known else cloudpickle.dumps(function)
        self.known.add(id(function))
        return framed(cloudpickle.dumps((id(function), body, args), 5))

    def call(self, function: Callable[..., object], *args: object) -> Any:
        """Call a function there and wait for its result."""
        self.socket.sendall(self.request(function, args))
        return read(self.file)

    def close(self) -> None:
        """End the process."""
        self.file.close()
        self.socket.close()
        self.process.wait()


def many(workers: list[Worker], function: Callable[..., object], count: int) -> None:
    """Call a function without arguments ``count`` times, shared out over the workers."""
    ahead = _AHEAD * len(workers)
    for number in range(count + ahead):
        if number >= ahead:
            read(workers[number % len(workers)].file)
        if number < count:
            worker = workers[number % len(workers)]
            worker.socket.sendall(worker.request(function, ()))


def serve(connection: socket.socket) -> None:
    """What a worker does."""
    functions: dict[int, Callable[..., object]] = {}
    with connection.makefile("rb") as file:
        while size := file.read(_SIZE.size):
            key, body, args = pickle.loads(file.read(*_SIZE.unpack(size)))
            if body is not None:
                functions[key] = pickle.loads(body)
            answer: Buffer = framed(cloudpickle.dumps(functions[key](*args), 5))
            connection.sendall(answer)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
