"""Pools over SSH by the user's own configuration, and with somebody else in the place of a machine."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from ssh_impostor import make_impostor as make_impostor
from sshd_here import OverSsh

import skyward as sky
from skyward._ssh import new_key_pair


@pytest.fixture
def supervisor() -> Any:
    """A function that tells which node it runs on, by its supervisor's process."""

    @sky.compute
    def supervisor() -> int:
        import os

        return os.getppid()

    return supervisor


def test_a_pool_is_not_entered_where_another_machine_answers(behind: Any, sshd: Any, make_impostor: Any) -> None:
    impostor = make_impostor()
    relay, pool = behind()
    relay.target = impostor.port
    with pytest.raises(sky.SkywardError) as caught:
        pool.__enter__()
    assert "another machine has taken its address" in str(caught.value)
    assert "open a new pool" in str(caught.value)
    assert impostor.given == []


def test_a_machine_whose_address_another_one_takes_is_lost_with_the_reason_and_replaced(
    sshd: Any, make_sshd: Any, ssh_root: str, make_relay: Any, small: Any, supervisor: Any
) -> None:
    """The address belongs to another machine from there on: for the node in its place that is the first contact."""

    @sky.compute
    def last() -> None:
        import time

        print("begun")
        time.sleep(1000)

    other = make_sshd("LogLevel DEBUG1")
    other.authorise(sshd.key)
    relay = make_relay(sshd.port)
    address = sshd.address(port=relay.port, host_key=None)  # pinned at the first contact
    begun, replaced = threading.Event(), threading.Event()
    preempted: list[sky.InstancePreempted] = []
    with small(provider=OverSsh(address=address, root=ssh_root), lease=20.0) as pool:
        pool.on(sky.LogLine, lambda _: begun.set())
        pool.on(sky.InstancePreempted, preempted.append)
        pool.on(sky.NodeReplaced, lambda _: replaced.set())
        first = supervisor() >> pool
        lasting = pool.submit(last())
        assert begun.wait(60)
        relay.target = other.port
        relay.cut()
        error = lasting.exception(60)
        assert isinstance(error, sky.OutcomeUnknown)
        assert "another machine has taken its address" in str(error)
        assert replaced.wait(60)
        assert supervisor() >> pool != first
    assert "another machine has taken its address" in preempted[0].reason
    told = "".join(other.log)
    refused = told.count("Connection from ") - told.count("Accepted publickey")
    assert refused >= 1
    assert told.count("method none") == told.count("Accepted publickey")  # how a client begins to log in


@pytest.fixture
def far(sshd: Any, make_sshd: Any, tmp_path: Path) -> tuple[Any, Path]:
    """A jump host, and a configuration by which the machine is reached through it under another name."""
    jump = make_sshd("AllowTcpForwarding yes")
    jump.authorise(sshd.key)
    user = sshd.address().username
    identity, known, config = (tmp_path / name for name in ("id", "known", "config"))
    identity.write_text(sshd.key.private)
    identity.chmod(0o600)
    known.write_text(f"[127.0.0.1]:{jump.port} {jump.host.public}\nmachine {sshd.host.public}\n")
    config.write_text(
        f"Host bastion\n  HostName 127.0.0.1\n  Port {jump.port}\n  User {user}\n"
        f"Host machine\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {user}\n  HostKeyAlias machine\n"
        f"  ProxyJump bastion\n"
        f"Host *\n  IdentityFile {identity}\n  UserKnownHostsFile {known}\n"
    )
    return jump, config


def test_a_pool_runs_behind_a_jump_host_that_drops_its_connections(
    far: tuple[Any, Path], sshd: Any, ssh_root: str, small: Any, supervisor: Any
) -> None:
    jump, config = far
    address = evolve(
        sshd.address(), host="machine", port=None, username=None, host_key=None, key=None, config=(str(config),)
    )
    with small(provider=OverSsh(address=address, root=ssh_root), nodes=2, lease=20.0) as pool:
        first = supervisor() @ pool
        assert len(set(first)) == 2
        jump.cut()
        assert supervisor() @ pool == first
    accepted = "".join(jump.log).count("Accepted publickey")
    assert accepted == 4  # a node's connection goes through one of its own, and each was made again


def test_a_pool_is_not_entered_through_a_jump_host_that_is_not_the_known_one(
    far: tuple[Any, Path], sshd: Any, ssh_root: str, small: Any, tmp_path: Path
) -> None:
    jump, config = far
    (tmp_path / "known").write_text(f"[127.0.0.1]:{jump.port} {new_key_pair('other').public}\n")
    address = evolve(sshd.address(), host="machine", port=None, host_key=None, key=None, config=(str(config),))
    with pytest.raises(sky.SkywardError, match="the jump host bastion cannot be verified"):
        small(provider=OverSsh(address=address, root=ssh_root)).__enter__()
    assert "Accepted publickey" not in "".join(jump.log)
