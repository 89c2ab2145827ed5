"""Where node 0 is met, once another machine has its place or its address has changed: all nodes are told the same."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve, field, frozen

import skyward as sky
from skyward import _local_processes
from skyward._local import LocalSession
from skyward.model.instance import Instance, InstanceState

from .conftest import PATIENCE, until
from .relay import Failing, Relay


@frozen
class Moving(Failing):
    """Local nodes with an address for each, which may change. While ``held`` is set, no further one comes to run."""

    addresses: dict[str, str] = field(factory=dict, eq=False)
    held: threading.Event = field(factory=threading.Event, eq=False)

    async def open(self, identity: Any, /) -> LocalSession:
        session = await super().open(identity)
        describe = session.describe

        async def described(ids: Sequence[str], /) -> Mapping[str, Instance]:
            return {name: self._seen(instance) for name, instance in (await describe(ids)).items()}

        session.describe = described  # type: ignore[method-assign]
        return session

    def _seen(self, instance: Instance) -> Instance:
        if instance.id not in self.addresses:
            if self.held.is_set():
                return evolve(instance, state=InstanceState.PENDING)
            self.addresses[instance.id] = f"127.0.0.{len(self.addresses) + 11}"
        address = self.addresses[instance.id]
        return evolve(instance, ip=address, private_ip=address)


@pytest.fixture
def moving() -> Iterator[Moving]:
    relay = Relay(lambda _: (None, None))
    yield Moving(relay=relay)
    relay.close()


@sky.compute
def who() -> tuple[int, int]:
    return sky.instance_info().node, os.getppid()


@sky.compute
def head() -> str:
    return sky.instance_info().head_addr


def test_a_broadcast_in_mid_replacement_of_node_0_waits_for_the_new_one_and_all_its_nodes_know_it(
    moving: Moving, small: Any
) -> None:
    async def meanwhile() -> None:
        everywhere = asyncio.ensure_future(pool.abroadcast(head()))
        await asyncio.sleep(0)  # now it is on its way
        for _ in range(4):
            node, _ = await pool.arun(who())
            assert node in (1, 2), "single tasks do not wait"
        moving.held.clear()
        assert set(await everywhere) == {"127.0.0.14"}

    lost = threading.Event()
    with small(provider=moving, nodes=3) as pool:
        pool.on(sky.InstancePreempted, lambda _: lost.set())
        assert len(set(head() @ pool)) == 1
        moving.held.set()
        os.kill(dict(who() @ pool)[0], signal.SIGKILL)
        assert lost.wait(PATIENCE)
        asyncio.run(meanwhile())
        assert set(head() @ pool) == {"127.0.0.14"}


def test_a_broadcast_that_waits_for_a_node_0_which_never_comes_ends_with_the_reason(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, sent = threading.Event(), threading.Event()

    def refuse(*_: object) -> None:
        assert sent.wait(PATIENCE)
        raise OSError("no more processes")

    async def meanwhile() -> None:
        everywhere = asyncio.ensure_future(pool.abroadcast(who()))
        await asyncio.sleep(0)
        sent.set()
        with pytest.raises(sky.NodeLost, match="node 0 is gone"):
            await everywhere

    with small(nodes=2) as pool:
        pool.on(sky.InstancePreempted, lambda _: lost.set())
        supervisors = dict(who() @ pool)
        monkeypatch.setattr(_local_processes, "start", refuse)
        os.kill(supervisors[0], signal.SIGKILL)
        assert lost.wait(PATIENCE)
        asyncio.run(meanwhile())
        assert who() >> pool == (1, supervisors[1])


def test_a_head_that_comes_back_with_another_address_is_told_to_all_nodes(moving: Moving, small: Any) -> None:
    with small(provider=moving, nodes=2) as pool:
        (before,) = set(head() @ pool)
        (name,) = (name for name, address in moving.addresses.items() if address == before)
        moving.addresses[name] = "127.0.0.99"
        assert set(head() @ pool) == {before}, "nobody has noticed"
        moving.relay.cut("control")  # of the node that was connected last
        moving.relay.opened["control"][0].shutdown(2)  # and of the other
        until(lambda: set(head() @ pool) == {"127.0.0.99"})
