"""A machine that cannot be reached is asked again: at once, then ever more rarely, and never all at the same moment."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from skipping_loop import SkippingLoop, does_skipping

from skyward._dispatcher import Dispatcher
from skyward._events import EventBus
from skyward._node import Node
from skyward._reactor import Reactor
from skyward.errors import NodeLost
from skyward.model.instance import Instance, InstanceState
from skyward.spi.transport import Interpreter


class Silence:
    """A road on which nothing answers; notes when it was tried."""

    def __init__(self, loop: SkippingLoop, error: Exception) -> None:
        self._loop = loop
        self._error = error
        self.tried: list[float] = []

    async def open(self, _name: str, _receiver: Any, /) -> Any:
        self.tried.append(self._loop.now)
        raise self._error


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons for which nodes were given up."""
    reasons: list[str] = []
    monkeypatch.setattr(Dispatcher, "node_lost", lambda _self, _node, why, **_: reasons.append(why))
    return reasons


def given_up(lease: float | None, seconds: float, error: Exception) -> list[float]:
    """A node that ran loses its connection for so many seconds; when it was tried to be reached."""

    async def work(loop: SkippingLoop) -> list[float]:
        reactor = Reactor("test-io")
        machine = Instance(id="machine", state=InstanceState.RUNNING, pool_id="p", node=0)
        road = Silence(loop, error)
        node = Node(0, machine, road, Dispatcher(EventBus(), reactor), lease)  # type: ignore[arg-type]
        node._started = True
        begun = loop.now
        node.on_lost(None)
        await loop.skip(seconds)
        reactor.close()
        return [at - begun for at in road.tried]

    return does_skipping(work)


def test_the_delays_grow_to_two_seconds_and_no_further(lost: list[str]) -> None:
    tried = given_up(60.0, 59.0, ConnectionError("it is away"))
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert tried[0] <= 0.1
    assert len([at for at in tried if at <= 1.0]) >= 3
    assert max(pauses) <= 2.2
    assert 30 <= len(tried) <= 120
    assert not lost


def test_no_two_nodes_are_tried_at_the_same_moments(lost: list[str]) -> None:
    several = {tuple(given_up(60.0, 20.0, ConnectionError("it is away"))) for _ in range(4)}
    assert len(several) == 4


def test_when_the_lease_is_over_the_node_is_given_up_and_the_lease_is_named(lost: list[str]) -> None:
    given_up(20.0, 25.0, ConnectionError("10.0.0.1:22 cannot be reached: no route"))
    [reason] = lost
    assert "could not be reached for 20 s, the lease after which a machine ends itself" in reason
    assert "10.0.0.1:22 cannot be reached: no route" in reason
    assert "lease=..." in reason


def test_without_a_lease_it_is_tried_for_a_minute(lost: list[str]) -> None:
    tried = given_up(None, 65.0, ConnectionError("it is away"))
    assert 55 <= tried[-1] <= 63
    assert lost == ["it is away"]


def test_what_is_known_to_be_gone_is_not_tried_again(lost: list[str]) -> None:
    assert len(given_up(60.0, 5.0, NodeLost("another machine has taken its address"))) == 1
    assert lost == ["another machine has taken its address"]


def test_a_head_that_moves_while_a_node_is_being_started_is_told_to_its_slots() -> None:
    told: list[Any] = []

    async def work(loop: SkippingLoop) -> None:
        reactor = Reactor("test-io")
        machine = Instance(id="machine", state=InstanceState.RUNNING, pool_id="p", node=1)
        road = Silence(loop, ConnectionError("not yet"))
        node = Node(1, machine, road, Dispatcher(EventBus(), reactor), None)  # type: ignore[arg-type]
        node.meet_at(("10.0.0.2", 29500))
        cluster = {"head_addr": "10.0.0.1", "head_port": 29500}
        starting = asyncio.ensure_future(node.start(Interpreter(), {"cluster": cluster}, 2))
        await loop.skip(1.0)
        told.extend(slot._head for slot in node.slots)
        starting.cancel()
        reactor.close()

    does_skipping(work)
    assert told == [("10.0.0.2", 29500)] * 2
