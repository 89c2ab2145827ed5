"""The short way of tasks' bytes between a connection's TCP socket and its channels.

asyncssh takes every packet through many small steps: reading and writing by the event loop, a key schedule for each
packet, logging, copies. For a call that does nothing they took more time than all else together. Here packets with
data of tasks' channels, which are nearly all, are encrypted, decrypted and passed on directly. Everything else is
asyncssh's: the handshake, new keys, opening and closing channels, their windows, keep-alives, other channels. The two
take turns at one stream of packets, whose counters and keys stay in asyncssh's own objects.

That needs names that asyncssh does not promise. So it is done only with the versions that it was tried with, with AES
in GCM mode, without compression, and over TCP directly; else asyncssh carries all of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from typing import Any

import asyncssh
from asyncssh.encryption import GCMEncryption
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skyward.spi.transport import Wire

__all__ = ["Lane", "open_lane"]

_OLDEST, _TOO_NEW = (2, 18), (2, 25)
"""The versions of asyncssh that this was tried with, from and below."""
_DATA = 94
"""Number of the message that carries a channel's data (RFC 4254, section 5.2)."""
_TAG = 16
_BLOCK = 16
_LEAST_PADDING = 4
_MOST_PADDING = _BLOCK + _LEAST_PADDING - 1
_SPACE = 512 << 10
_LONGEST = 256 << 10
"""A longer packet is left to asyncssh, which refuses it."""
_START = struct.Struct("!BBII")
"""Of a packet: bytes of padding at its end, kind, channel, bytes of data."""
_OVERHEAD = _START.size
_COUNT = struct.Struct("!I")


def open_lane(ssh: asyncssh.SSHClientConnection, wire: Wire) -> Lane | None:
    """A lane for a connection over TCP that is on the wire's loop; ``None`` if asyncssh is to carry everything."""
    version = tuple(int(part) for part in asyncssh.__version__.split(".")[:2])
    plain = all(str(ssh.get_extra_info(f"{way}_compression")) == "none" for way in ("send", "recv"))
    own: Any = ssh
    keys = (own._send_encryption, own._recv_encryption) if _OLDEST <= version < _TOO_NEW else ()
    if not keys or not plain or not all(isinstance(key, GCMEncryption) for key in keys):
        return None
    return Lane(ssh, wire)


class _Key:
    """The cipher of one direction, made once for each of its keys.

    The key is that ``of`` asyncssh's object, whose own ``cipher`` keeps the count of the packets.
    """

    __slots__ = ("cipher", "gcm", "of")

    cipher: Any
    gcm: AESGCM

    def __init__(self) -> None:
        self.of: object = None

    def fits(self, encryption: Any) -> bool:
        """Have that object's key; False if it is of another kind."""
        if not isinstance(encryption, GCMEncryption):
            return False
        self.of, self.cipher = encryption, encryption._cipher
        self.gcm = AESGCM(self.cipher._key)
        return True


class Lane:
    """See the module. All of it is called by the wire alone. asyncssh reads only where its loop runs, since it starts
    tasks then; writing is possible anywhere there.
    """

    first = True

    def __init__(self, ssh: Any, wire: Wire) -> None:
        self._ssh = ssh
        self._wire = wire
        self._transport: asyncio.Transport = ssh._transport
        self._send, self._take = ssh.send_packet, ssh.data_received  # asyncssh's own
        self._channels: dict[int, Any] = {}
        self._out, self._in = _Key(), _Key()
        self._padding = os.urandom(_MOST_PADDING)  # of the next packet
        self._clean = False  # whether asyncssh has read all packets that it was given
        self._space = memoryview(bytearray(_SPACE))
        self._filled = 0
        self._socket = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)
        self._transport.pause_reading()
        ssh.send_packet = self.send_packet
        self._open = True
        self._waiting = False  # for asyncssh to read a packet
        wire.watch(self._socket, self)
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_task(ssh.wait_closed())
        self._end.add_done_callback(lambda _: self.close())

    def carry(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        """Take the data of a channel this way."""
        own: Any = chan
        self._channels[own._recv_chan] = own

    def drop(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        """The channel has ended."""
        own: Any = chan
        self._channels = {number: each for number, each in self._channels.items() if each is not own}

    def close(self) -> None:
        """Leave the connection to asyncssh again: it has ended, or something has come that only asyncssh can read."""
        if self._open:
            self._open = False
            self._wire.forget(self._socket)
            self._loop.call_soon(self._hand_back)

    def _hand_back(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()  # where it ended, asyncssh finds that out itself
            if self._filled:
                self._take(self._space[: self._filled].tobytes())

    # outwards

    def write(self, chan: asyncssh.SSHUNIXChannel[bytes], data: bytes | memoryview) -> None:
        """Write to a channel. What its window does not allow waits in it, and in no second place.

        Raises:
            OSError: the channel is not open.
        """
        own: Any = chan
        is_next = own._send_state == "open" and not own._send_buf
        if is_next and 0 < len(data) <= min(own._send_window, own._send_pktsize) and self._is_free():  # as mostly
            own._send_window -= len(data)
            self._packet(own._send_chan, data)
            return
        rest = memoryview(data)
        if is_next:
            while rest and own._send_window and self._is_free():
                piece = rest[: min(own._send_window, own._send_pktsize)]
                own._send_window -= len(piece)
                self._packet(own._send_chan, piece)
                rest = rest[len(piece) :]
        if rest:
            chan.write(rest.tobytes())

    def _is_free(self) -> bool:
        """Whether data may be sent: not while new keys are agreed upon, nor when it is time for that."""
        ssh = self._ssh
        return bool(
            self._open
            and ssh._kex_complete
            and ssh._rekey_bytes_sent < ssh._rekey_bytes
            and not (ssh._rekey_seconds and time.monotonic() >= ssh._rekey_time)
            and (ssh._send_encryption is self._out.of or self._out.fits(ssh._send_encryption))
        )

    def _packet(self, number: int, data: memoryview | bytes) -> None:
        """Send data to the channel that has this number there."""
        ssh = self._ssh
        cipher = self._out.cipher
        size = _OVERHEAD + len(data)
        padding = -size % _BLOCK
        if padding < _LEAST_PADDING:
            padding += _BLOCK
        length = _COUNT.pack(size + padding)
        plain = b"".join((_START.pack(padding, _DATA, number, len(data)), data, self._padding[:padding]))
        packet = length + self._out.gcm.encrypt(cipher._iv, plain, length)
        try:
            sent = 0 if self._transport.get_write_buffer_size() else self._socket.send(packet)
        except OSError:  # full, or closed, which is found out where it is read
            sent = 0
        finally:  # what the other end does not wait for, but the next packet needs
            cipher._update_iv()
            ssh._send_seq = (ssh._send_seq + 1) & 0xFFFFFFFF
            ssh._rekey_bytes_sent += len(packet) - _COUNT.size
            self._padding = os.urandom(_MOST_PADDING)
        if sent < len(packet):
            self._transport.write(packet[sent:])

    def send_packet(self, kind: int, *parts: bytes, **options: Any) -> None:
        """Stands in the place of the connection's own: what waited for a channel's window comes here."""
        if kind == _DATA and self._is_free():
            whole = b"".join(parts)
            self._packet(int.from_bytes(whole[:4]), memoryview(whole)[8:])
        else:
            self._send(kind, *parts, **options)

    # inwards

    def ready(self, events: int = 0) -> None:
        """Read packets, and pass each on."""
        if self._transport.is_closing():  # since a write failed: from then on asyncssh expects nothing to come
            self.close()
            return
        if self._waiting:
            return
        try:
            count = self._socket.recv_into(self._space[self._filled :])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.close()
            return
        self._filled += count
        self._sort()

    def _sort(self) -> None:
        """Pass on the packets that are whole, up to the first one that is asyncssh's to read."""
        space, begin, end = self._space, 0, self._filled
        try:
            while end - begin >= _COUNT.size:
                length = _COUNT.unpack_from(space, begin)[0]
                after = begin + _COUNT.size + length + _TAG
                encryption = self._ssh._recv_encryption
                if length > _LONGEST or (encryption is not self._in.of and not self._in.fits(encryption)):
                    self.close()
                    return
                if after > end:
                    return
                short = self._short(begin, after)
                if short is None:
                    self._waiting, self._clean = True, False
                    self._loop.call_soon(self._long, space[begin:after].tobytes())
                    begin = after
                    return
                begin = after
                chan, data = short
                window = chan._recv_window - len(data)
                if chan._recv_paused or chan._send_state != "open" or window < chan._init_recv_window / 2:
                    chan._accept_data(data)  # there is more to do than to pass it on
                else:
                    chan._recv_window = window
                    chan._session.data_received(data, None)
        finally:  # what is left of the bytes goes to the front
            self._filled = end - begin
            if begin and self._filled:
                space[: self._filled] = space[begin:end].tobytes()

    def _long(self, packet: bytes) -> None:
        """Have asyncssh read a packet, on its loop, and go on behind it."""
        self._waiting = False
        if not self._transport.is_closing():
            self._take(packet)
        if self._open:
            self._sort()

    def _short(self, begin: int, after: int) -> tuple[Any, memoryview] | None:
        """The channel and the data of a packet; ``None`` if it is asyncssh's to read: then nothing is changed yet."""
        ssh = self._ssh
        if not self._clean:
            if ssh._inpbuf or ssh._recv_handler != ssh._recv_pkthdr:  # it is still about earlier ones
                return None
            self._clean = True
        cipher = self._in.cipher
        middle = begin + _COUNT.size
        try:
            plain = self._in.gcm.decrypt(cipher._iv, self._space[middle:after], self._space[begin:middle])
        except InvalidTag:
            return None
        if len(plain) < _OVERHEAD:
            return None
        padding, kind, number, size = _START.unpack_from(plain)
        chan = self._channels.get(number)
        if kind != _DATA or chan is None or chan._recv_state != "open" or size > chan._recv_window:
            return None
        if size != len(plain) - _OVERHEAD - padding:
            return None
        cipher._update_iv()
        ssh._recv_seq = (ssh._recv_seq + 1) & 0xFFFFFFFF
        return chan, memoryview(plain)[_OVERHEAD : _OVERHEAD + size]
