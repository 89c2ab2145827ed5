"""Pools that meet with faults and are interrupted, what is left of them, and what it may be."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from attrs import frozen
from interrupting import Interruptor, Way
from road_fakes import After, ClientDied, FakeProvider, Hang, Journey, Late, VirtualLoop, on_demand, run, spot

from skyward import _reap
from skyward._accounts import read_all
from skyward._client import this_client
from skyward._ledger import state_folder
from skyward._teardown import LATE
from skyward.errors import BootstrapError, QuotaExceeded, SkywardError, Transient, Unavailable
from skyward.model.offer import Offer
from skyward.testing import VirtualClock

__all__ = ["ENDINGS", "EVERYTHING", "LATE_ORDER", "Ending", "Scenario", "awaits", "check", "random_scenario"]

type Ending = Literal["cancel", "raise", "die", "die and lose the ledger"]
ENDINGS: tuple[Ending, ...] = ("cancel", "raise", "die", "die and lose the ledger")

DEAD = f"{this_client().partition('-')[0]}-1-0"
ELSEWHERE = f"{'0' * 12}-1-0"
"""The tags of a client of which can be told here that it has died, and of one of which cannot."""


@frozen
class Cloud:
    """One provider: what it sells, how long a machine takes to boot, and the script of its calls."""

    offers: tuple[Offer, ...]
    boot: float | None = 0.0
    forgetful: int = 0
    script: tuple[tuple[str, tuple[object, ...]], ...] = ()

    def made(self, name: str, clock: VirtualClock) -> _Cloud:
        script = {method: list(entries) for method, entries in self.script}
        return _Cloud(name, list(self.offers), boot=self.boot, forgetful=self.forgetful, script=script, clock=clock)


class _Cloud(FakeProvider):
    """Notes when an order was given."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.ordered: list[float] = []
        perform = self._backend.act

        async def act(method: str, argument: object, work: Callable[[], Any]) -> Any:
            if method == "launch":
                self.ordered.append(self.clock.monotonic())
            return await perform(method, argument, work)

        self._backend.act = act  # type: ignore[method-assign]


@frozen
class Scenario:
    """A pool and its providers.

    ``used`` is for how many seconds its block is open, ``lost`` the nodes that are lost meanwhile and replaced, and
    ``preempted`` the moments at which a machine is taken away, whatever the pool is doing then.
    """

    seed: int
    clouds: tuple[Cloud, ...]
    nodes: int = 2
    allocation: Any = "spot-if-available"
    selection: Any = "first"
    timeout: float | None = 3600.0
    lease: float | None = 600.0
    used: float = 10.0
    lost: tuple[int, ...] = ()
    preempted: tuple[float, ...] = ()


EVERYTHING = Scenario(
    seed=0,
    clouds=(
        Cloud(
            offers=(spot(capacity=1), on_demand(capacity=1, billing_quantum=60)),
            boot=3.0,
            forgetful=1,
            script=(
                ("offers", (Transient("busy"),)),
                ("launch", (Transient("busy"), None, None, After(Transient("the reply was lost")))),
                ("describe", (Transient("busy"),)),
                ("terminate", (Transient("busy"), RuntimeError("oops"), After(Transient("busy")))),
                ("list_owned", (Transient("busy"),)),
            ),
        ),
        Cloud(offers=(on_demand(billing_quantum=3600),), script=(("launch", (2.0,)),)),
    ),
    nodes=3,
    lost=(1,),
)
"""A partial launch at two providers, passing failures of every call, a slow boot, and a machine that is replaced."""


LATE_ORDER = Scenario(
    seed=0,
    clouds=(
        Cloud(offers=(spot(),), script=(("launch", (Late(40.0, Hang),)),)),
        Cloud(offers=(spot(),), script=(("launch", (2.0,)),)),
    ),
    nodes=1,
)
"""An order that is never answered, and brings forth a machine long after."""


def random_scenario(seed: int) -> Scenario:
    """The scenario of a seed: up to four nodes at up to two providers, with faults in any of their calls."""
    dice = random.Random(seed)
    return Scenario(
        seed,
        clouds=tuple(_random_cloud(dice) for _ in range(dice.choice((1, 1, 2)))),
        nodes=dice.randint(1, 4),
        allocation=dice.choice(("spot-if-available", "on-demand", "cheapest", 0.5)),
        selection=dice.choice(("first", "cheapest", "available")),
        timeout=dice.choice((3600.0, 3600.0, 900.0, 20.0)),
        lease=dice.choice((600.0, 600.0, 60.0, None)),
        used=dice.choice((0.0, 1.0, 30.0)),
        lost=tuple(range(dice.choice((0, 0, 1, 2)))),
        preempted=tuple(dice.uniform(0, 20) for _ in range(dice.choice((0, 0, 0, 1, 2)))),
    )


def _random_cloud(dice: random.Random) -> Cloud:
    quantum = dice.choice((1.0, 1.0, 60.0, 3600.0))
    offers = [
        sort(price=dice.choice((0.1, 0.5, 1.5)), capacity=dice.choice((None, None, 1, 2)), billing_quantum=quantum)
        for sort in (spot, on_demand)
    ]
    return Cloud(
        offers=tuple(offers[: dice.choice((1, 2, 2))]),
        boot=dice.choice((0.0, 0.0, 3.0, 25.0)),
        forgetful=dice.choice((0, 0, 1, 3)),
        script=tuple((method, tuple(_faults(dice, method))) for method in _FAULTS),
    )


_ONCE_IN_A_WHILE: tuple[object, ...] = (Transient("busy"), 2.0, RuntimeError("oops"), After(Transient("lost")))
_FAULTS: dict[str, tuple[object, ...]] = {
    "open": (Transient("busy"), 2.0),
    "offers": (Transient("busy"), 2.0, Unavailable("sold out")),
    "launch": (
        *_ONCE_IN_A_WHILE,
        Unavailable("sold out"),
        QuotaExceeded("4 machines"),
        40.0,  # answered late
        Hang,  # not at all
        After(Hang),  # after the effect
        After(RuntimeError("oops")),
        Late(3.0, Transient("lost")),
        Late(40.0, Hang),
        Late(40.0, ConnectionResetError("reset by peer")),
    ),
    "describe": (Transient("busy"), 2.0),
    "terminate": (*_ONCE_IN_A_WHILE, Hang, After(Hang)),
    "list_owned": (Transient("busy"), 2.0, RuntimeError("oops")),
    "bootstrap": (2.0, Transient("busy"), BootstrapError("pip failed", phase="deps")),
    "transport.open": (ConnectionError("refused"),),
}


def _faults(dice: random.Random, method: str) -> Iterator[object]:
    """What some of the first calls do; at most three in a row fail."""
    if method == "terminate" and dice.random() < 0.3:
        yield from [dice.choice(_FAULTS[method])] * 3
        return
    for _ in range(dice.choice((0, 1, 2, 3))):
        yield dice.choice(_FAULTS[method]) if dice.random() < 0.5 else None


class Life:
    """One client's pool over the clouds of a scenario, and the state folder of its user."""

    def __init__(self, scenario: Scenario, way: Way, at: int, client: str = ELSEWHERE) -> None:
        self.scenario = scenario
        self.client = client
        self.clock = VirtualClock()
        self.clouds = [cloud.made("AB"[index], self.clock) for index, cloud in enumerate(scenario.clouds)]
        self.loop = VirtualLoop(self.clock)
        self.interruptor = Interruptor(self.loop, way, at)
        self.errors: list[BaseException] = []
        self.died = False
        self.journey: Journey
        for moment in scenario.preempted:
            notice = 5.0 if int(10 * moment) % 2 else 0.0
            self.clock.call_at(moment, partial(self._preempt, notice))

    def _preempt(self, notice: float) -> None:
        for cloud in self.clouds:
            for machine in cloud.alive[:1]:
                cloud.preempt(machine, notice)

    def live(self) -> None:
        """Until the client has ended, or died."""
        random.seed(self.scenario.seed)  # pauses between attempts are random
        try:
            with mock.patch("skyward._market.this_client", return_value=self.client):
                run(self._live(), self.loop)
        except ClientDied:
            self.died = True
            ledger = self.journey.road._books._ledger
            if ledger is not None:
                ledger._file.close()  # which lets go of the lock, as the end of a process does

    async def _live(self) -> None:
        scenario = self.scenario
        ends: list[asyncio.Task[None]] = []
        self.journey = journey = Journey(
            *self.clouds,
            nodes=scenario.nodes,
            allocation=scenario.allocation,
            selection=scenario.selection,
            timeout=scenario.timeout,
            lease=scenario.lease,
        )
        if scenario.seed // len(ENDINGS) % 2:  # as a pool does whose block is interrupted while it is entered
            self.interruptor.also = lambda: ends.append(self.interruptor.start(journey.road.destroy()))
        if await self._do(journey.road.provision()):
            await asyncio.sleep(scenario.used)
            for index in scenario.lost:
                node = journey.dispatcher.nodes.pop(index, None)
                if node is not None:
                    for cloud in self.clouds:
                        if node.instance.id in {machine.id for machine in cloud.alive if machine.node == index}:
                            cloud.lose(node.instance.id)
                            break
                    await self._do(journey.road.replace(node, lambda: None))
        await self._do(journey.road.destroy())
        await asyncio.gather(*ends, return_exceptions=True)

    async def _do(self, coroutine: Any) -> bool:
        result = await self.interruptor.run(coroutine)
        if isinstance(result, BaseException):
            self.errors.append(result)
        return not isinstance(result, BaseException)

    # what is left

    @property
    def ledgers(self) -> list[Path]:
        return sorted(state_folder().glob("*.jsonl"))

    @property
    def alive(self) -> list[str]:
        return [f"{machine} of {cloud.name}" for cloud in self.clouds for machine in cloud.alive]

    def reap(self) -> None:
        """A new client removes what it finds."""

        async def reaped() -> None:
            found = await _reap.find([cloud.provider for cloud in self.clouds])
            removed = await _reap.remove(found)
            assert not found.problems, found.problems
            assert not removed.problems, removed.problems

        run(reaped(), VirtualLoop(self.clock))

    def overdue(self) -> Iterator[str]:
        """Machines that were billed for longer than up to their deadline and one quantum.

        One that an order brings forth after the deadline ends at once; no order is given after it.
        """
        epoch = self.clock.time() - self.clock.monotonic()
        for cloud in self.clouds:
            for machine in cloud.machines:
                if machine.deadline is not None:
                    limit = max(machine.deadline - epoch, machine.created) + machine.offer.billing_quantum
                    if machine.created + machine.billed() > limit + 1e-6:
                        yield f"{machine} of {cloud.name}: {machine.billed():g} s from {machine.created:g} on"
            deadline = self.journey.road.deadline
            for moment in cloud.ordered:
                if deadline is not None and moment > deadline - epoch:
                    yield f"an order to {cloud.name} at {moment:g}"


def awaits(scenario: Scenario) -> int:
    """How many awaits a client's life has that nothing interrupts."""
    life = Life(scenario, "nothing", 0)
    life.live()
    _after_an_end(life)
    return life.interruptor.awaits


def check(scenario: Scenario, ending: Ending, at: int) -> None:
    """Interrupt a client at an await, and make sure that nothing is left behind."""
    # Where there is a ledger, the tags do not tell that the client is dead: the ledger alone must do.
    life = Life(scenario, "die", at, DEAD) if ending == "die and lose the ledger" else Life(scenario, ending, at)
    try:
        life.live()
        if life.died:
            _after_a_death(life, with_ledger=ending == "die")
        else:
            _after_an_end(life)
        life.clock.advance((scenario.timeout or 3600.0) + 3600.0)
        assert life.alive == []
        assert list(life.overdue()) == []
    except BaseException as error:
        error.add_note(f"{ending} at await {at}: {life.interruptor.where}")
        raise


def _after_an_end(life: Life) -> None:
    """The client has ended in order: by itself, cancelled, or with an error."""
    told = [error for error in life.errors if isinstance(error, SkywardError)]
    if life.alive:
        # Only where something befell the removal itself, and then the user is told; or where an order, long after it
        # was given up, has brought forth a machine since its provider was looked through.
        early = [each for cloud in life.clouds for each in cloud.alive if each.created < cloud.ordered[-1] + 5]
        assert not early or any("may still run" in str(error) for error in told), early
        (account,) = read_all()
        for cloud in life.clouds:
            unknown = {each.id for each in cloud.alive} - set(account.machines.get(cloud.name, ()))
            assert not unknown or account.unclear, "the ledger tells of every machine, or of an order without an answer"
    if "Provider.open" not in life.interruptor.where:  # what that would have returned is the provider's to close
        assert sum(cloud.open_sessions for cloud in life.clouds) == 0
    assert [road for cloud in life.clouds for road in cloud.open_roads] == []
    if life.ledgers:
        life.reap()
        assert life.alive == []
        assert life.ledgers == []
    life.clock.advance(2 * LATE)
    assert life.alive == [], "a ledger is removed only when nothing can come any more"


def _after_a_death(life: Life, *, with_ledger: bool) -> None:
    """The client has been killed, and another one looks for what it left."""
    if with_ledger:
        life.reap()
        assert life.alive == []
        assert life.ledgers == []
        life.clock.advance(2 * LATE)
        assert life.alive == []
        return
    shutil.rmtree(state_folder(), ignore_errors=True)
    life.clock.advance(2 * LATE)  # what an order brings forth late must be there, to be found by its tag
    life.reap()
    assert life.alive == []
