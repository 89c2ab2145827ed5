"""The supervisor's end of the control channel: a greeting with the token, then small frames both ways."""

from __future__ import annotations

import socket

from skyward.worker.greeting import greet
from skyward.worker.protocol import Frame, FrameError, FrameReader, Kind, encode

__all__ = ["ControlPeer"]


class ControlPeer:
    """A client that has shown the token."""

    def __init__(self, peer: socket.socket, reader: FrameReader, frames: list[Frame]) -> None:
        self.socket = peer
        self._reader = reader
        self._frames = frames

    @classmethod
    def accept(cls, listener: socket.socket, token: bytes, welcome: dict[str, object]) -> ControlPeer | None:
        """Accept a waiting client; ``None`` when there is none or it does not know the token."""
        met = greet(listener, token)
        if met is None:
            return None
        peer = cls(*met)
        if peer.send(Kind.WELCOME, welcome):
            return peer
        peer.close()
        return None

    def waiting(self) -> list[Frame]:
        """Frames that came together with the greeting."""
        frames, self._frames = self._frames, []
        return frames

    def read(self) -> list[Frame] | None:
        """Frames that have come; ``None`` when the client is gone or speaks nonsense."""
        try:
            count = self.socket.recv_into(self._reader.get_buffer())
            return self._reader.advance(count) if count else None
        except FrameError as error:
            self.send(Kind.REFUSED, str(error))
        except OSError:
            pass
        return None

    def send(self, kind: Kind, head: object, number: int = 0) -> bool:
        """Write one frame; False when the client does not take it within a few seconds."""
        try:
            self.socket.sendall(b"".join(encode(kind, number, head)))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
