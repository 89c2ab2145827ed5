"""Nodes that do not reach each other by private addresses form no group; the slots of one node always do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from attrs import frozen

import skyward as sky
from skyward._rendezvous import why_apart
from skyward.model.instance import Instance, InstanceState
from skyward.spi import Capabilities


def seller(name: str = "Cloud", *, private: bool = True) -> Any:
    return SimpleNamespace(provider=SimpleNamespace(name=name, capabilities=Capabilities(private_network=private)))


def machine(of: Any, private_ip: str | None = "10.0.0.1", region: str = "here", state: str = "running") -> Any:
    instance = Instance(id=f"m-{region}", state=InstanceState(state), ip="203.0.113.1", private_ip=private_ip)
    return SimpleNamespace(seller=of, offer=SimpleNamespace(region=region), instance=instance)


def test_one_machine_reaches_itself_and_several_of_one_network_each_other() -> None:
    cloud = seller()
    assert not why_apart({})
    assert not why_apart({0: machine(seller(private=False), None)})
    assert not why_apart({0: machine(cloud), 1: machine(cloud)})
    assert not why_apart({0: machine(cloud), 1: machine(cloud, None, state="pending")}), "it has no address yet"


@pytest.mark.parametrize(
    ("machines", "why"),
    [
        (
            lambda: dict(enumerate([machine(seller("Vast", private=False), None)] * 2)),
            "those of Vast have no private network as it is set up; use nodes=1",
        ),
        (
            lambda: (lambda cloud: {0: machine(cloud), 1: machine(cloud, None)})(seller()),
            "Cloud gave node 1 (m-here) no",
        ),
        (
            lambda: (lambda cloud: {0: machine(cloud), 1: machine(cloud), 2: machine(cloud, region="there")})(seller()),
            "node 0 is in here of Cloud and node 2 in there of Cloud, and private addresses reach no further",
        ),
        (
            lambda: {1: machine(seller("A")), 0: machine(seller("B"))},
            "node 0 is in here of B and node 1 in here of A",
        ),
    ],
)
def test_machines_that_share_no_private_network_are_named(machines: Callable[[], dict[int, Any]], why: str) -> None:
    assert why in why_apart(machines())


@sky.compute
def pid() -> int:
    return os.getpid()


def members() -> Any:
    from skyward.spi import current_group

    group: Any = current_group()
    if group.rank:
        group.reached().close()
    for _ in range(group.size - 1 if group.rank == 0 else 0):  # whose port is closed once its function has ended
        group.listener().accept()[0].close()
    return [member.address for member in group.members]


together = sky.ComputeFunction(members, together=True)


@frozen
class Lonely(sky.Local):
    """Nodes that do not say how they would reach each other."""

    capabilities: ClassVar[Capabilities] = Capabilities(spot=False, private_network=False)


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    with sky.ComputePool(provider=Lonely(), nodes=2, display="quiet", lease=60.0) as made:
        yield made


def test_a_group_over_nodes_without_a_private_network_is_refused_at_the_call_and_other_calls_are_not(
    pool: sky.ComputePool,
) -> None:
    with pytest.raises(sky.UsageError) as caught:
        together() @ pool
    assert caught.value.message.startswith(
        "members runs together on 2 nodes that must reach each other: those of Local have no private network"
    )
    assert not getattr(caught.value, "__notes__", []), "no rank has begun of which there would be something to tell"
    assert len(pid() @ pool) == 2
    assert together() >> pool == ["127.0.0.1"]


def test_a_group_that_waited_while_a_machine_was_replaced_in_another_place_is_refused_then(
    pool: sky.ComputePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    teams: Any = pool._engine.dispatcher.teams
    answers = iter(["", "it has moved; move it back", "", "", "", ""])
    with monkeypatch.context() as patch:
        patch.setattr(teams, "apart", lambda: next(answers))
        with pytest.raises(sky.UsageError, match="it has moved; move it back"):
            together() @ pool
        assert together() @ pool == (["127.0.0.1"] * 2,) * 2
    assert len(pid() @ pool) == 2


def test_the_slots_of_one_node_meet_at_its_loopback_wherever_the_node_can_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sky.ComputePool(provider=Lonely(), concurrency=2, display="quiet", lease=60.0) as pool:
        monkeypatch.setattr(pool._engine.dispatcher.teams, "addresses", lambda: {0: "203.0.113.1"})
        assert together() @ pool == (["127.0.0.1"] * 2,) * 2
