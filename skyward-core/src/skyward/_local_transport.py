"""The road to a local machine: Unix sockets, and an environment by uv where the image asks for packages."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from skyward.errors import NodeLost
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Wire
from skyward.worker.greeting import roomy
from skyward.worker.protocol import Kind, encode

if TYPE_CHECKING:
    from skyward._local_processes import Machine
    from skyward.model.image import Image

__all__ = ["LocalTransport"]


class LocalTransport:
    """Reaches one machine over the sockets in its folder."""

    def __init__(self, machine: Machine, token: bytes, wire: Wire) -> None:
        self._wire = wire
        self._machine = machine
        self._token = token

    async def bootstrap(self, image: Image, report: PhaseReport, /) -> Interpreter:
        """Build the environment that the image asks for; nothing for an image without packages."""
        from skyward.model.image import client_python

        if not image.pip and image.python == client_python():
            return Interpreter()
        from skyward._environment import ensure_environment
        from skyward._payload import stage

        python = await ensure_environment(image, extra=("psutil",), report=report)
        begun = time.monotonic()
        report("skyward", "started", None)
        payload = await stage()
        report("skyward", "completed", time.monotonic() - begun)
        return Interpreter(python=str(python), front=(str(payload.front),), back=(str(payload.back),))

    async def open(self, name: str, receiver: Receiver, /) -> Link:
        """Connect to a socket of the machine."""
        try:
            connection = self._connect(name)
        except OSError as error:
            if self._machine.process.poll() is not None:
                raise NodeLost(f"the supervisor of {self._machine.name} has ended{self._last_words()}") from error
            raise ConnectionError(f"{name} of {self._machine.name} cannot be reached: {error}") from error
        link = self._wire.add(connection, receiver)
        link.send(encode(Kind.HELLO, raw_head=self._token))
        return link

    def _connect(self, name: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            roomy(connection)
            connection.connect(f"{self._machine.folder}/{name}.sock")
        except BaseException:
            connection.close()
            raise
        return connection

    def _last_words(self) -> str:
        try:
            with open(self._machine.log, encoding="utf-8", errors="replace") as log:
                lines = log.read().strip().splitlines()[-15:]
        except OSError:
            return ""
        return ":\n" + "\n".join(lines) if lines else ""

    async def close(self) -> None:
        """Nothing to let go of: links are closed by whoever opened them."""
