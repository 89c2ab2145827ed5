"""The road to a local machine: Unix sockets, and an environment by uv where the image asks for packages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
import weakref
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from skyward.errors import NodeLost
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Wire
from skyward.worker.greeting import roomy
from skyward.worker.protocol import Frame, Kind, encode

if TYPE_CHECKING:
    from skyward._local_processes import Machine
    from skyward.model.bootstrap import Step
    from skyward.model.image import Image

__all__ = ["LocalTransport"]

_log = logging.getLogger("skyward.road")

_told: weakref.WeakSet[Wire] = weakref.WeakSet()
"""The pools, by their wires, whose log says already that steps are not run."""


class LocalTransport:
    """Reaches one machine over the sockets in its folder.

    ``lease`` is the machine's, in seconds.
    """

    def __init__(self, machine: Machine, token: bytes, wire: Wire, lease: float | None) -> None:
        self._lease = lease
        self._wire = wire
        self._machine = machine
        self._token = token

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        """Build the environment that the image asks for; nothing for an image without packages.

        No ``steps`` are run: they are written for a machine of the pool's own, and this one is the user's.
        """
        from skyward.model.image import client_python

        if steps and self._wire not in _told:
            _told.add(self._wire)
            named = ", ".join(f"{step.name!r} of {step.origin or 'a plugin'}" for step in steps)
            _log.info("bootstrap steps are not run, because local nodes are processes of this machine: %s", named)
        if not image.pip and image.python == client_python():
            return Interpreter()
        async with self._kept_alive():
            return await _build(image, report)

    @contextlib.asynccontextmanager
    async def _kept_alive(self) -> AsyncIterator[None]:
        """Renew the machine's lease meanwhile."""
        keeping = asyncio.create_task(self._keep_lease())
        try:
            yield
        finally:
            keeping.cancel()

    async def _keep_lease(self) -> None:
        """Say a word now and then: the machine runs already, and nobody else talks to it before it is configured."""
        if self._lease is None:
            return
        with contextlib.suppress(ConnectionError, NodeLost):  # whoever configures it meets the same, and reports it
            link = await self.open("control", _Deaf())
            try:
                while True:
                    link.send(encode(Kind.PING))
                    await asyncio.sleep(self._lease / 4)
            finally:
                link.close()

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


class _Deaf:
    """Receives what nobody waits for."""

    def on_frame(self, frame: Frame) -> None:
        """Let it go."""

    def on_lost(self, error: Exception | None) -> None:
        """Let it go."""


async def _build(image: Image, report: PhaseReport) -> Interpreter:
    from skyward._discovery import packages
    from skyward._environment import ensure_environment
    from skyward._payload import stage

    python = await ensure_environment(image, extra=("psutil",), report=report)
    begun = time.monotonic()
    report("skyward", "started", None)
    payload = await stage(packages())
    report("skyward", "completed", time.monotonic() - begun)
    return Interpreter(python=str(python), front=(str(payload.front),), back=(str(payload.back),))
