"""Bytes between a channel of an SSH connection and a socket of this machine.

The pool's reactor serves the other end of that socket as it serves those of local nodes. So whoever calls a function
writes to a socket and waits on a socket, and the event loop with the connection does the rest on its own thread. An
echo through it took 1.10 of that of the bare channel; calling into the loop for each message took 1.16. What either
side does not take yet stays in the buffers of the kernel, of the channel and here, and the other side is told to wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque

import asyncssh

from skyward._ssh.pulse import Pulse

__all__ = ["Bridge"]

_PIECE = 256 << 10
"""Bytes read from the socket at a time."""


class Bridge(asyncssh.SSHUNIXSession[bytes]):
    """Owns ``near``, a connected non-blocking stream socket, and closes it when the channel ends."""

    def __init__(self, near: socket.socket, pulse: Pulse) -> None:
        self._near = near
        self._pulse = pulse
        self._loop = asyncio.get_running_loop()
        self._chan: asyncssh.SSHUNIXChannel[bytes] | None = None
        self._backlog: deque[memoryview] = deque()
        self._reading = False
        self._ending = False
        self.ended = asyncio.Event()

    # from the socket to the channel

    def connection_made(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        """The channel is open."""
        self._chan = chan
        self.resume_writing()

    def resume_writing(self) -> None:
        """The channel takes bytes."""
        if not self._reading and not self._ending:
            self._reading = True
            self._loop.add_reader(self._near, self._up)

    def pause_writing(self) -> None:
        """The channel has enough for now."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._near)

    def _up(self) -> None:
        assert self._chan is not None
        try:
            data = self._near.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # this end of the link was closed
            self.pause_writing()
            self._chan.close()  # after what was written has gone out
            return
        try:
            self._chan.write(data)
        except OSError:  # the channel is closing, and says so itself
            self.pause_writing()

    # from the channel to the socket

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass bytes on; what the socket does not take at once waits, and the channel with it."""
        self._pulse.beats += 1
        if not self._backlog:
            try:
                sent = self._near.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # this end was closed, which `_up` notices
            if sent == len(data):
                return
            assert self._chan is not None
            self._chan.pause_reading()
            self._loop.add_writer(self._near, self._down)
            self._backlog.append(memoryview(data)[sent:])
        else:
            self._backlog.append(memoryview(data))

    def _down(self) -> None:
        try:
            while self._backlog:
                sent = self._near.send(self._backlog[0])
                if sent == len(self._backlog[0]):
                    self._backlog.popleft()
                else:
                    self._backlog[0] = self._backlog[0][sent:]
        except BlockingIOError:
            return
        except OSError:
            self._backlog.clear()
        self._loop.remove_writer(self._near)
        if self._ending:
            self._close()
        elif self._chan is not None:
            self._chan.resume_reading()

    def eof_received(self) -> bool:
        """The far end has closed its socket; the channel closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel has ended. What has come of it still reaches the other end of the socket, and then its end."""
        self.pause_writing()
        self._ending = True
        if not self._backlog:
            self._close()

    def _close(self) -> None:
        self._chan = None
        self._near.close()
        self.ended.set()
