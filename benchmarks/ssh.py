"""A node over SSH beside the bare channel that it goes through: a no-op, and 64 MiB in and out.

The server is a real sshd on this machine, so there is no network to hide behind: what is measured is the price of SSH
and of what stands around it. OpenSSH's own client is beside them as a third road to the same socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import tasks
from benchmarks._measure import Table, duration, interleaved, p50, ratio, seconds

SIZE = 64 << 20
SHORT = 200
"""Bytes of an echo: about what a call and its result take."""
SHARED = Path(__file__).resolve().parent.parent / "skyward-core" / "tests"
"""Where the server is that the tests use."""


def serve(path: str) -> None:
    """The far end of the bare roads: echoes short messages, takes and gives long ones."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("listening", flush=True)
    while True:
        peer, _ = listener.accept()
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

        from skyward._ssh.ciphers import cipher_order

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
            self._ssh = await asyncssh.connect(
                address.host,
                address.port,
                username=address.username,
                config=None,
                agent_path=None,
                known_hosts=([asyncssh.import_public_key(address.host_key)], [], []),
                client_keys=[asyncssh.import_private_key(address.key.private)],
                encryption_algs=cipher_order(),
            )
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
    """OpenSSH's client, which forwards a socket of this machine."""

    def __init__(self, server: Any, path: str, folder: str) -> None:
        key, here = Path(folder, "key"), f"{folder}/here.sock"
        key.touch(0o600)
        key.write_text(server.key.private)
        known = Path(folder, "known")
        known.write_text(f"[127.0.0.1]:{server.port} {server.host.public}\n")
        options = [f"UserKnownHostsFile={known}", "Ciphers=aes128-gcm@openssh.com", "IdentitiesOnly=yes"]
        options += ["ExitOnForwardFailure=yes", "BatchMode=yes"]
        command = ["ssh", "-F", "none", "-i", str(key), "-p", str(server.port), "-L", f"{here}:{path}"]
        for option in options:
            command += ["-o", option]
        self._process = subprocess.Popen(
            [*command, "127.0.0.1", "echo ready && exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(here)
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
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()


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
def far_end(folder: str) -> Iterator[str]:
    """The path of a socket whose other end a process of its own serves."""
    path = f"{folder}/far.sock"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.ssh", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield path
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def measure(*, quick: bool) -> Table:
    """All of them in one run."""
    title = "A node over SSH"
    sys.path.append(str(SHARED))
    try:
        import numpy as np
        from sshd_here import OverSsh, Sshd, find_sshd
    except ImportError as error:
        return Table(title, ("",), [(f"{error.name} is not installed here",)])
    if find_sshd() is None:
        return Table(title, ("",), [("sshd is not installed here: apt install openssh-server",)])
    import skyward as sky
    from skyward._uv import find_uv

    array = np.zeros(SIZE, dtype="uint8")
    data = array.tobytes()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder, contextlib.ExitStack() as stack:
        server = Sshd(path=[str(asyncio.run(find_uv()).parent)])
        stack.callback(server.close)
        path = stack.enter_context(far_end(folder))
        image = sky.Image(pip=[f"numpy=={np.__version__}"])
        provider = OverSsh(address=server.address(), root=f"{folder}/root")
        roads: dict[str, Any] = {
            "asyncssh, bare": Bare(server.address(), path),
            "OpenSSH, bare": OpenSsh(server, path, folder),
            "skyward over SSH": Pool(provider=provider, image=image),
            "skyward, local": Pool(),
        }
        for road in roads.values():
            stack.callback(road.close)
        given = {name: array if isinstance(road, Pool) else data for name, road in roads.items()}
        for name, road in roads.items():
            road.echo(50)
            road.put(given[name])
            road.get()
        count, rounds = (100, 3) if quick else (400, 9)
        echo = _medians({name: functools.partial(road.echo, count) for name, road in roads.items()}, rounds)
        put = _medians(
            {n: functools.partial(seconds, functools.partial(r.put, given[n])) for n, r in roads.items()}, rounds
        )
        get = _medians({name: functools.partial(seconds, road.get) for name, road in roads.items()}, rounds)
    base = "asyncssh, bare"
    rows = [
        (
            name,
            duration(echo[name]),
            ratio(echo[name], echo[base]),
            f"{SIZE / 1e6 / put[name]:,.0f}",
            ratio(put[base], put[name]),
            f"{SIZE / 1e6 / get[name]:,.0f}",
            ratio(get[base], get[name]),
        )
        for name in roads
    ]
    columns = ("", "no-op", "to bare", "in MB/s", "of bare", "out MB/s", "of bare")
    notes = [
        f"Bare: an echo of {SHORT} bytes, and 64 MiB written or read, over a forwarded Unix socket, with aes128-gcm.",
        "skyward: a call that does nothing, and an array of 64 MiB as an argument or as a result.",
    ]
    return Table(title, columns, rows, notes)


def _medians(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    return {name: statistics.median(figures) for name, figures in interleaved(contenders, rounds).items()}


if __name__ == "__main__":
    serve(os.path.abspath(sys.argv[1]))
