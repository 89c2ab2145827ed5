"""The roads that the figures over SSH are measured on: bare channels, OpenSSH's own client, and Skyward."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import tasks
from benchmarks._measure import p50, seconds

SIZE = 64 << 20
SHORT = 200
"""Bytes of an echo: about what a call and its result take."""


async def bare_login(address: Any) -> Any:
    """Connect and log in by asyncssh alone, with the best cipher."""
    import asyncssh

    from skyward._ssh.ciphers import cipher_order

    return await asyncssh.connect(
        address.host,
        address.port,
        username=address.username,
        config=None,
        agent_path=None,
        known_hosts=([asyncssh.import_public_key(address.host_key)], [], []),
        client_keys=[asyncssh.import_private_key(address.key.private)],
        encryption_algs=cipher_order(),
    )


class FarEnd(NamedTuple):
    """Where a process serves: the path of a Unix socket, and a port on loopback."""

    path: str
    port: int


def serve(path: str) -> None:
    """The far end of the bare roads: echoes short messages, takes and gives long ones."""
    unix, port = socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))
    unix.bind(path)
    unix.listen()
    print(port.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(port,), daemon=True).start()
    _accept(unix)


def _accept(listener: socket.socket) -> None:
    while True:
        peer, _ = listener.accept()
        if peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(peer,), daemon=True).start()


def _answer(peer: socket.socket) -> None:
    data, space = bytes(SIZE), memoryview(bytearray(SIZE))
    with peer:
        while order := peer.recv(SHORT):
            if order[:1] == b"e":
                peer.sendall(order)
            elif order[:1] == b"o":
                peer.sendall(data)
            else:
                got = 0
                while got < SIZE:
                    got += peer.recv_into(space[got:])
                peer.sendall(b"k")


class Bare:
    """An asyncssh channel to a Unix socket, with the best cipher, driven on its own loop in this very thread."""

    def __init__(self, address: Any, path: str) -> None:
        import asyncssh

        self._loop = asyncio.new_event_loop()
        self._space = memoryview(bytearray(SIZE))
        self._want = self._got = 0
        self._rest = memoryview(b"")
        self._paused = False
        self._done: asyncio.Future[None]
        bare = self

        class Session(asyncssh.SSHUNIXSession[bytes]):
            def data_received(self, data: bytes, datatype: int | None) -> None:
                count = len(data)
                bare._space[bare._got : bare._got + count] = data
                bare._got += count
                if bare._got >= bare._want:
                    bare._done.set_result(None)

            def pause_writing(self) -> None:
                bare._paused = True

            def resume_writing(self) -> None:
                bare._paused = False
                bare._pump()

        async def connect() -> None:
            self._ssh = await bare_login(address)
            await self._ssh.create_process("exec cat >/dev/null")  # else sshd holds small packets back
            self._chan, _ = await self._ssh.create_unix_connection(Session, path)

        self._loop.run_until_complete(connect())

    def _pump(self) -> None:
        while self._rest and not self._paused:
            self._chan.write(self._rest[: 256 << 10])
            self._rest = self._rest[256 << 10 :]

    def _ask(self, order: bytes, want: int, data: bytes = b"") -> None:
        async def ask() -> None:
            self._done = self._loop.create_future()
            self._got, self._want = 0, want
            self._chan.write(order.ljust(SHORT))
            self._rest = memoryview(data)
            self._pump()
            await self._done

        self._loop.run_until_complete(ask())

    def echo(self, count: int) -> float:
        """Median of so many echoes, all inside one run of the loop."""

        async def many() -> float:
            clock, times = self._loop.time, []
            for _ in range(count):
                begun = clock()
                self._done = self._loop.create_future()
                self._got, self._want = 0, SHORT
                self._chan.write(b"e" * SHORT)
                await self._done
                times.append(clock() - begun)
            return statistics.median(times)

        return self._loop.run_until_complete(many())

    def put(self, data: bytes) -> None:
        """Send it, and wait until it has arrived."""
        self._ask(b"i", 1, data)

    def get(self) -> None:
        """Receive as much, into memory that is there already."""
        self._ask(b"o", SIZE)

    def close(self) -> None:
        """End the connection."""

        async def close() -> None:
            self._ssh.close()
            await self._ssh.wait_closed()

        self._loop.run_until_complete(close())
        self._loop.close()


class OpenSsh:
    """OpenSSH's own client, ``ssh -W``: its standard input and output lead to a port there."""

    def __init__(self, server: Any, port: int, folder: str) -> None:
        key = Path(folder, "key")
        key.touch(0o600)
        key.write_text(server.key.private)
        known = Path(folder, "known")
        known.write_text(f"[127.0.0.1]:{server.port} {server.host.public}\n")
        options = [f"UserKnownHostsFile={known}", "Ciphers=aes128-gcm@openssh.com", "IdentitiesOnly=yes"]
        command = ["ssh", "-F", "none", "-i", str(key), "-p", str(server.port), "-W", f"127.0.0.1:{port}"]
        for option in [*options, "BatchMode=yes"]:
            command += ["-o", option]
        self._socket, theirs = socket.socketpair()
        with theirs:
            end = theirs.fileno()
            self._process = subprocess.Popen([*command, "127.0.0.1"], stdin=end, stdout=end)
        self._space = memoryview(bytearray(SIZE))

    def _read(self, count: int) -> None:
        got = 0
        while got < count:
            got += self._socket.recv_into(self._space[got:])

    def echo(self, count: int) -> float:
        """Median of so many echoes."""

        def one() -> None:
            self._socket.sendall(b"e" * SHORT)
            self._read(SHORT)

        return p50(one, count)

    def put(self, data: bytes) -> None:
        """Send it, and wait until it has arrived."""
        self._socket.sendall(b"i".ljust(SHORT))
        self._socket.sendall(data)
        self._read(1)

    def get(self) -> None:
        """Receive as much."""
        self._socket.sendall(b"o".ljust(SHORT))
        self._read(SIZE)

    def close(self) -> None:
        """End the client."""
        self._socket.close()
        self._process.terminate()
        self._process.wait()


class Pool:
    """Skyward, with one node."""

    def __init__(self, **options: Any) -> None:
        import skyward as sky

        self._pool = sky.ComputePool(display="quiet", **options)
        self._pool.__enter__()
        self._nothing, self._size, self._give = (
            sky.compute(function) for function in (tasks.nothing, tasks.size, tasks.give)
        )
        self._give(SIZE) >> self._pool

    def echo(self, count: int) -> float:
        """Median of so many calls of a function that does nothing."""
        return p50(lambda: self._nothing() >> self._pool, count)

    def many(self, count: int) -> float:
        """Calls per second of so many of them, handed over at once."""
        import skyward as sky

        return count / seconds(lambda: sky.gather(*(self._nothing() for _ in range(count))) >> self._pool)

    def put(self, array: Any) -> None:
        """Send an array, and wait for its size."""
        assert self._size(array) >> self._pool == SIZE

    def get(self) -> None:
        """Receive an array."""
        assert (self._give(SIZE) >> self._pool).nbytes == SIZE

    def close(self) -> None:
        """End the pool."""
        self._pool.__exit__(None, None, None)


@contextlib.contextmanager
def far_end(folder: str) -> Iterator[FarEnd]:
    """A process of its own that serves."""
    path = f"{folder}/far.sock"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks._ssh_roads", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield FarEnd(path, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    serve(os.path.abspath(sys.argv[1]))
