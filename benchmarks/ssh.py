"""A node over SSH beside the bare channel that it goes through: no-ops, alone and many at once, and 64 MiB each way.

The server is a real sshd on this machine, so there is no network to hide behind: what is measured is the price of SSH
and of what stands around it. OpenSSH's own client is beside them as a third road to the same machine. Then the same
over a relay that keeps each byte for 10 ms, as a network with a round trip of 20 ms does.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._measure import Table, duration, interleaved, ratio, seconds
from benchmarks._ssh_roads import SHORT, SIZE, Bare, OpenSsh, Pool, far_end

SHARED = Path(__file__).resolve().parent.parent / "skyward-core" / "tests"
"""Where the server and the relay are that the tests use."""
BASE = "asyncssh, bare"
TITLE = "A node over SSH"
ONE_WAY = 0.01
"""Seconds that a byte takes through the relay."""
AWAY = "Nothing limits this network but its delay. A task is sent ahead to each busy slot, and no more than that one."
COLUMNS = ("", "no-op", "to bare", "no-ops/s", "in MB/s", "of bare", "out MB/s", "of bare")


def measure(*, quick: bool) -> Sequence[Table]:
    """Near, and behind a delay."""
    sys.path.append(str(SHARED))
    try:
        import numpy as np
        from sshd_here import OverSsh, Sshd, find_sshd
        from tcp_relay import TcpRelay
    except ImportError as error:
        return [Table(TITLE, ("",), [(f"{error.name} is not installed here",)])]
    if find_sshd() is None:
        return [Table(TITLE, ("",), [("sshd is not installed here: apt install openssh-server",)])]
    import skyward as sky
    from skyward._uv import find_uv

    array = np.zeros(SIZE, dtype="uint8")
    image = sky.Image(pip=[f"numpy=={np.__version__}"])
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder, contextlib.ExitStack() as stack:
        server = Sshd(path=[str(asyncio.run(find_uv()).parent)])
        stack.callback(server.close)
        far = stack.enter_context(far_end(folder))
        relay = TcpRelay(server.port, delay=ONE_WAY)
        stack.callback(relay.close)

        def pool(port: int) -> Pool:
            return Pool(provider=OverSsh(address=server.address(port=port), root=f"{folder}/root"), image=image)

        near: dict[str, Any] = {
            BASE: Bare(server.address(), far.path),
            "ssh -W": OpenSsh(server, far.port, folder),
            "skyward over SSH": pool(server.port),
            "skyward, local": Pool(),
        }
        away: dict[str, Any] = {
            BASE: Bare(server.address(port=relay.port), far.path),
            "skyward over SSH": pool(relay.port),
        }
        for road in (*near.values(), *away.values()):
            stack.callback(road.close)
        counts, rounds = ((100, 500), 3) if quick else ((400, 2_000), 9)
        title = f"{TITLE}, {2e3 * ONE_WAY:g} ms away"
        return [
            Table(TITLE, COLUMNS, _compared(near, array, counts, rounds), _notes(counts[1])),
            Table(title, COLUMNS, _compared(away, array, (20, counts[1]), 3), [AWAY]),
        ]


def _notes(many: int) -> list[str]:
    return [
        f"Bare: an echo of {SHORT} bytes, and 64 MiB written or read, over a forwarded Unix socket, with aes128-gcm.",
        "ssh -W: the same by OpenSSH's client, to a port.",
        "skyward: a call that does nothing, and an array of 64 MiB as an argument or as a result.",
        f"no-ops/s: {many:,} calls through gather on 2 slots.",
    ]


def _compared(roads: dict[str, Any], array: Any, counts: tuple[int, int], rounds: int) -> list[Sequence[str]]:
    """The rows of a table: each road's median of ``rounds``, of ``counts`` no-ops one by one and at once."""
    data = array.tobytes()
    given = {name: array if isinstance(road, Pool) else data for name, road in roads.items()}
    few, many = counts
    for name, road in roads.items():
        road.echo(min(few, 50))
        road.put(given[name])
        road.get()
    pools = {name: road for name, road in roads.items() if isinstance(road, Pool)}
    echo = _medians({name: functools.partial(road.echo, few) for name, road in roads.items()}, rounds)
    rate = _medians({name: functools.partial(road.many, many) for name, road in pools.items()}, min(rounds, 5))
    put = _medians(
        {n: functools.partial(seconds, functools.partial(r.put, given[n])) for n, r in roads.items()}, rounds
    )
    get = _medians({name: functools.partial(seconds, road.get) for name, road in roads.items()}, rounds)
    return [
        (
            name,
            duration(echo[name]),
            ratio(echo[name], echo[BASE]),
            f"{rate[name]:,.0f}" if name in rate else "",
            f"{SIZE / 1e6 / put[name]:,.0f}",
            ratio(put[BASE], put[name]),
            f"{SIZE / 1e6 / get[name]:,.0f}",
            ratio(get[BASE], get[name]),
        )
        for name in roads
    ]


def _medians(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    return {name: statistics.median(figures) for name, figures in interleaved(contenders, rounds).items()}
