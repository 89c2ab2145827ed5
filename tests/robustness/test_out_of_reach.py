"""A node whose network is away: its own tasks wait for it, and nobody else's do."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from sshd_here import OverSsh, OverSshSession, free_port

import skyward as sky

from .conftest import until


@pytest.fixture
def apart(
    sshd: Any, ssh_root: str, make_relay: Any, small: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], sky.ComputePool]:
    """Two relays, and a pool with a node behind each."""
    relays = [make_relay(sshd.port) for _ in range(2)]
    ordinary = OverSshSession.transport

    def transport(session: Any, instance: Any, wire: Any) -> Any:
        address = sshd.address(port=relays[instance.node].port)
        session._provider = evolve(session._provider, address=address)
        return ordinary(session, instance, wire)

    monkeypatch.setattr(OverSshSession, "transport", transport)
    return relays, small(provider=OverSsh(address=sshd.address(), root=ssh_root), nodes=2, lease=120.0)


def test_while_a_node_is_out_of_reach_tasks_go_to_the_others_and_a_broadcast_waits_for_it(
    apart: Any, sshd: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @sky.compute
    def where() -> tuple[int, int]:
        import os

        return sky.instance_info().node, os.getppid()

    @sky.compute
    def note() -> int:
        node = sky.instance_info().node
        (tmp_path / str(node)).touch()
        return node

    async def meanwhile(other: tuple[int, int]) -> None:
        both = asyncio.ensure_future(pool.abroadcast(note()))
        await asyncio.sleep(0)  # now it is on its way
        for _ in range(5):
            assert await pool.arun(where()) == other
        assert await pool.arun_batch(sky.gather(*(where() for _ in range(20)))) == (other,) * 20
        assert os.listdir(tmp_path) == [], "the other node's copy waits as well, since it may need the head"
        (relay, _) = relays
        relay.target = sshd.port
        assert await both == (0, 1)

    caplog.set_level("DEBUG", "skyward.tasks")
    relays, pool = apart
    lost: list[sky.InstancePreempted] = []
    with pool:
        pool.on(sky.InstancePreempted, lost.append)
        before = where() @ pool
        assert [node for node, _ in before] == [0, 1]
        relays[0].target = free_port()  # nothing listens there
        relays[0].cut()
        until(lambda: "the link to slot (0, 0) ended" in caplog.text)
        asyncio.run(meanwhile(before[1]))
        assert set(sky.gather(*(where() for _ in range(20))) >> pool) == set(before)
    assert not lost
