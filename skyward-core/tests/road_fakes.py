"""A cloud in memory whose provider does what a test has scripted, and an event loop whose time passes at once."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import selectors
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from attrs import evolve, frozen

from skyward import ComputePool
from skyward._cost import CostMeter
from skyward._road import Road
from skyward.model.bootstrap import Step
from skyward.model.events import SkywardEvent
from skyward.model.image import Image
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.spi.provider import Capabilities, LaunchRequest, PoolIdentity
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver

# ---- time ------------------------------------------------------------------------------------------------------------


class _Selector(selectors.DefaultSelector):
    """Never waits: what would be a wait moves the loop's clock forward instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits for something that will never come")
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not found:
            self.now += max(timeout, 0.0)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which an hour is over at once, and which can interrupt at any of its steps."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.steps = 0
        self.at_step: dict[int, Callable[[], object]] = {}

    def time(self) -> float:
        return self._virtual.now

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps in self.at_step:
            self.at_step.pop(self.steps)()
        super()._run_once()  # type: ignore[misc]  # asyncio's own, the same in every version so far

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """At once and on this thread: a thread would need real time."""
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def run[T](main: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    """Run to the end on virtual time."""
    chosen = VirtualLoop() if loop is None else loop
    with asyncio.Runner(loop_factory=lambda: chosen) as runner:
        return runner.run(main, context=contextvars.copy_context())


# ---- the cloud -------------------------------------------------------------------------------------------------------


@frozen
class After:
    """Do what was asked, then this."""

    then: object


class Hang:
    """Never answer."""


async def play(entry: object) -> None:
    """Do what a script says."""
    if isinstance(entry, BaseException):
        raise entry
    if isinstance(entry, Hang) or entry is Hang:
        await asyncio.Event().wait()
    if isinstance(entry, (int, float)):
        await asyncio.sleep(entry)


class FakeProvider:
    """Settings and cloud in one.

    Args:
        name: the provider's name.
        offers: what it sells; by default one machine type in both markets.
        boot: seconds until a machine runs; ``None`` for never.
        forgetful: how often ``describe`` and ``list_owned`` still list a machine that was ended.
        capabilities: as of any provider.
        script: by the name of a session's method, what its next calls do: an exception is raised, ``Hang`` never
            answers, a number is waited for, a callable gives the answer, ``After(...)`` does the work first, and
            ``None`` is an ordinary call. When a script is over, calls are ordinary ones.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(spot=True, default_lease=60)

    def __init__(
        self,
        name: str = "Fake",
        offers: Sequence[Offer] | None = None,
        *,
        boot: float | None = 0.0,
        forgetful: int = 0,
        script: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        self.name = name
        self.sells = [spot(name), on_demand(name)] if offers is None else list(offers)
        self.boot = boot
        self.forgetful = forgetful
        self.script = {key: list(values) for key, values in (script or {}).items()}
        self.machines: dict[str, Instance] = {}
        self.born: dict[str, float] = {}
        self.seen_dead: dict[str, int] = {}
        self.calls: list[tuple[str, Any]] = []
        self.sessions: list[FakeSession] = []
        self.open_sessions = 0
        self.open_roads: set[str] = set()

    @property
    def alive(self) -> list[str]:
        """Machines that cost money."""
        return [name for name, machine in self.machines.items() if machine.state is not InstanceState.GONE]

    def called(self, method: str) -> list[Any]:
        """What a method was called with."""
        return [argument for name, argument in self.calls if name == method]

    async def open(self, identity: PoolIdentity, /) -> FakeSession:
        session = FakeSession(self, identity)
        await self.act("open", identity, lambda: None)
        self.open_sessions += 1
        self.sessions.append(session)
        return session

    async def act[T](self, method: str, argument: object, work: Callable[[], T]) -> Any:
        """One call of a method: scripted or ordinary, with a moment before and after its effect."""
        self.calls.append((method, argument))
        queue = self.script.get(method, [])
        entry = queue.pop(0) if queue else None
        await asyncio.sleep(0)
        if isinstance(entry, After):
            work()
            await play(entry.then)
            raise AssertionError("unreachable: an After that goes on")
        if callable(entry) and entry is not Hang:
            return entry(argument)
        await play(entry)
        answer = work()
        await asyncio.sleep(0)
        return answer


class FakeSession:
    """An open account; its machines are the provider's, and outlive it."""

    def __init__(self, provider: FakeProvider, identity: PoolIdentity) -> None:
        self.provider = provider
        self.identity = identity

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        return await self.provider.act("offers", spec, lambda: list(self.provider.sells))  # type: ignore[no-any-return]

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        return await self.provider.act("launch", request, lambda: self.create(request))  # type: ignore[no-any-return]

    def create(self, request: LaunchRequest) -> list[Instance]:
        made = []
        for node in request.nodes:
            name = f"i-{len(self.provider.machines)}"
            machine = Instance(id=name, state=InstanceState.PENDING, pool_id=self.identity.pool_id, node=node)
            self.provider.machines[name] = machine
            self.provider.born[name] = asyncio.get_running_loop().time()
            made.append(machine)
        return made

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        return await self.provider.act(  # type: ignore[no-any-return]
            "describe", list(ids), lambda: {name: self.state(name) for name in ids if name in self.provider.machines}
        )

    def state(self, name: str) -> Instance:
        machine = self.provider.machines[name]
        if machine.state is InstanceState.GONE and self.provider.seen_dead.get(name, 0) < self.provider.forgetful:
            self.provider.seen_dead[name] = self.provider.seen_dead.get(name, 0) + 1
            return evolve(machine, state=InstanceState.RUNNING)
        up = asyncio.get_running_loop().time() - self.provider.born[name]
        if machine.state is InstanceState.PENDING and self.provider.boot is not None and up >= self.provider.boot:
            machine = evolve(machine, state=InstanceState.RUNNING, ip="203.0.113.9", private_ip="10.0.0.9")
            self.provider.machines[name] = machine
        return machine

    async def terminate(self, ids: Sequence[str], /) -> None:
        def work() -> None:
            for name in ids:
                if name in self.provider.machines:
                    machine = self.provider.machines[name]
                    self.provider.machines[name] = evolve(machine, state=InstanceState.GONE)

        await self.provider.act("terminate", list(ids), work)

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        return await self.provider.act(  # type: ignore[no-any-return]
            "list_owned", pool_id, lambda: [self.state(name) for name in self.provider.machines]
        )

    def transport(self, instance: Instance, wire: object, /) -> FakeTransport:
        del wire
        queue = self.provider.script.get("transport", [])
        if queue and isinstance(entry := queue.pop(0), BaseException):
            raise entry
        self.provider.open_roads.add(instance.id)
        return FakeTransport(self.provider, instance)

    async def close(self) -> None:
        def work() -> None:
            self.provider.open_sessions -= 1

        await self.provider.act("close", None, work)


class FakeTransport:
    """The road to a machine on which nothing runs."""

    def __init__(self, provider: FakeProvider, instance: Instance) -> None:
        self.provider = provider
        self.instance = instance

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        report("uv", "started", None)
        await self.provider.act("bootstrap", self.instance.id, lambda: None)
        report("uv", "completed", 1.0)
        return Interpreter()

    async def open(self, name: str, receiver: Receiver, /) -> Link:
        raise AssertionError("the fake node opens no links")

    async def close(self) -> None:
        await self.provider.act("transport.close", self.instance.id, lambda: None)
        self.provider.open_roads.discard(self.instance.id)


class FakeNode:
    """Stands for `skyward._node.Node`, whose wire has tests of its own: it is ready at once."""

    def __init__(self, index: int, instance: Instance, transport: Any, dispatcher: Any, lease: float | None) -> None:
        self.index = index
        self.instance = instance
        self.transport = transport
        self.lease = lease
        self.configuration: dict[str, Any] = {}

    async def start(self, interpreter: Interpreter, configuration: dict[str, Any], slots: int) -> None:
        self.configuration = configuration
        await self.transport.provider.act("start", self.instance.id, lambda: None)

    def close(self) -> None:
        pass


def spot(provider: str = "Fake", kind: str = "small", price: float | None = 0.25, **more: Any) -> Offer:
    """An offer of a spot machine."""
    more = {"on_demand_price": 1.0, **more}
    return Offer(provider=provider, instance_type=kind, region="here-1", market="spot", price=price, **more)


def on_demand(provider: str = "Fake", kind: str = "small", price: float | None = 1.0, **more: Any) -> Offer:
    """An offer of an on-demand machine."""
    return Offer(provider=provider, instance_type=kind, region="here-1", price=price, **more)


# ---- the road --------------------------------------------------------------------------------------------------------


class Journey:
    """A road over fake providers, with all that it leaves behind for a test to look at.

    Make it on a running loop. Parameters are those of a pool.
    """

    def __init__(self, *providers: FakeProvider, **parameters: Any) -> None:
        self.providers = providers
        self.events: list[SkywardEvent] = []
        self.cost = CostMeter(asyncio.get_running_loop().time)
        self.dispatcher = SimpleNamespace(nodes={})
        sold_by: list[Any] = list(providers)
        options = ComputePool(provider=sold_by, display="quiet", **parameters)._pool_options
        bus: Any = SimpleNamespace(emit=self.events.append)
        self.road = Road(options, bus, SimpleNamespace(), self.dispatcher, self.cost)  # type: ignore[arg-type]

    async def there_and_back(self) -> None:
        """Provision, then end."""
        await self.road.provision()
        await self.road.destroy()

    @property
    def names(self) -> list[str]:
        """The classes of the events so far."""
        return [type(event).__name__ for event in self.events]

    @property
    def alive(self) -> list[str]:
        return [name for provider in self.providers for name in provider.alive]

    def leftovers(self, state: Path) -> Iterator[str]:
        """Whatever the road should not have left."""
        for provider in self.providers:
            yield from (f"machine {name}" for name in provider.alive)
            yield from (f"road to {name}" for name in provider.open_roads)
            if provider.open_sessions:
                yield f"{provider.open_sessions} session(s) of {provider.name}"
        yield from (f"ledger {path.name}" for path in state.rglob("*.jsonl"))
        running = self.cost.update()
        if running.hourly_rate or running.spot_count or running.ondemand_count:
            yield f"a running cost of {running.hourly_rate}"


def virtually[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine test on virtual time."""

    @functools.wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapped
