"""The sockets of a node, and how they meet a client.

The client speaks first and shows the token, in raw bytes, before anything that it says is unpickled.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from _operator import _compare_digest as same_in_constant_time  # what hmac has it from; hmac itself loads OpenSSL

from skyward.worker.protocol import Frame, FrameError, FrameReader, Kind, encode

__all__ = ["greet", "listen", "refuse", "roomy"]

_PATIENCE = 5.0
"""Seconds that a client may take over its greeting before it is let go."""


def greet(listener: socket.socket, token: bytes) -> tuple[socket.socket, FrameReader, list[Frame]] | None:
    """Accept a waiting client, if there is one and it knows the token.

    Returns its socket (with a time-out of a few seconds set), the reader that has seen its first bytes, and the frames
    that came together with the greeting.
    """
    try:
        peer, _ = listener.accept()
    except OSError:
        return None
    reader = FrameReader(greeting=True)
    patience = time.monotonic() + _PATIENCE
    try:
        frames: list[Frame] = []
        while not frames:
            peer.settimeout(max(0.001, patience - time.monotonic()))
            count = peer.recv_into(reader.get_buffer())
            if not count:
                raise FrameError("the connection ended before its greeting")
            frames = reader.advance(count)
            if not frames and time.monotonic() >= patience:
                raise FrameError(f"no greeting came within {_PATIENCE:g} s")
        if not same_in_constant_time(bytes(frames[0].head), token):
            raise FrameError("the token is not this node's")
    except (OSError, FrameError) as error:
        refuse(peer, str(error))
        return None
    peer.settimeout(_PATIENCE)
    return peer, reader, frames[1:]


def refuse(peer: socket.socket, reason: str) -> None:
    """Tell the peer why and close the connection."""
    with contextlib.suppress(OSError):
        peer.send(b"".join(encode(Kind.REFUSED, head=reason)))
    peer.close()


def listen(path: str) -> socket.socket:
    """Return a listening Unix socket at ``path`` that only this user may connect to (mode 0600)."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = f"{path}.{os.urandom(2).hex()}"
    listener.bind(temporary)
    os.chmod(temporary, 0o600)
    os.rename(temporary, path)
    listener.listen(16)
    return listener


def roomy(connection: socket.socket) -> None:
    """Have the kernel take more at once (4 MiB, or what it allows), so that large arrays need fewer turns."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
