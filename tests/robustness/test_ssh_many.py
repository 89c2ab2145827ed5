"""Many nodes behind one SSH server with its usual limits: ten connections not logged in yet, ten sessions on each."""

from __future__ import annotations

from typing import Any

import pytest
from sshd_here import OverSsh

import skyward as sky

NODES = 16
"""More than the server lets in at a time. With 64 it takes a minute and 128 processes: that so many connections come
through, although the server drops some, is shown without nodes in `test_ssh_connect`."""


@pytest.mark.slow
def test_more_nodes_than_the_server_lets_in_at_a_time_all_come_up_and_come_back(
    make_sshd: Any, ssh_root: str, small: Any
) -> None:
    @sky.compute
    def node() -> int:
        return sky.instance_info().node

    server = make_sshd("MaxStartups 10:30:100", "MaxSessions 10")
    with small(provider=OverSsh(address=server.address(), root=ssh_root), nodes=NODES, lease=60.0) as pool:
        assert node() @ pool == tuple(range(NODES))
        server.cut()  # all at once
        assert node() @ pool == tuple(range(NODES))
    assert "MaxStartups" not in "".join(server.log)  # it had no reason to drop any


def test_a_node_has_more_slots_than_the_server_gives_sessions(make_sshd: Any, ssh_root: str, small: Any) -> None:
    @sky.compute
    def slot() -> int:
        return sky.instance_info().worker

    server = make_sshd("MaxSessions 10")
    with small(provider=OverSsh(address=server.address(), root=ssh_root), concurrency=12, lease=60.0) as pool:
        assert set(sky.gather(*(slot() for _ in range(200))) >> pool) == set(range(12))
