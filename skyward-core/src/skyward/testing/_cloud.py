"""``FakeCloud``: a cloud in memory, whose machines cost nothing and whose time passes when a test says so."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from skyward import _clock
from skyward.errors import ConfigurationError
from skyward.model.offer import Offer
from skyward.spi.provider import Capabilities
from skyward.testing import _left
from skyward.testing._backend import Backend
from skyward.testing._clock import VirtualClock
from skyward.testing._loop import running_clock
from skyward.testing._machine import FakeMachine
from skyward.testing._offers import on_demand, spot
from skyward.testing._provider import FakeProvider
from skyward.testing._record import Body, Record, dollars
from skyward.testing._script import Script
from skyward.testing._vendor import FakeVendor

if TYPE_CHECKING:
    from skyward._clock import Clock
    from skyward.testing._session import FakeSession

__all__ = ["FakeCloud"]


class FakeCloud:
    """A cloud for tests: what it sells, how its calls go, and what becomes of its machines is up to the test.

    Its ``provider`` goes where a real provider would::

        with FakeCloud() as cloud:
            with sky.ComputePool(provider=cloud.provider, nodes=2) as pool:
                assert double(21) >> pool == 42
                cloud.clock.advance(3600)
            assert cloud.alive == []
            assert cloud.bill() == 0.50

    A machine costs from its creation to its end, by the price and the billing quantum of its offer. It ends when it is
    terminated, preempted or lost, and by itself when its deadline has come or its lease has run out, always at that
    very moment of the cloud's clock. The lease is the exception where its client lives in time that passes by itself,
    as a pool does outside of a virtual event loop: local nodes count it by the system's clock, as those of
    ``sky.Local()`` do, and for simulated ones it begins when the client has closed the road to them.

    Entered as a block, its clock is the one by which pools that are entered inside count their costs and their
    deadline, and whatever is left is ended at the block's end.

    Args:
        name: the provider's name.
        offers: what it sells, in its order of preference; by default one machine type on ``spot()`` and
            ``on_demand()``. ``Offer.capacity`` is how many of it there can be at a time.
        boot_seconds: seconds from a machine's creation until it runs; ``None`` for never. Nobody waits for it: unless a
            virtual event loop moves the clock, looking at a machine that boots moves it to when it runs.
        capabilities: as of any provider; by default with spot machines and a lease of 60 s.
        script: by the name of a method, what its next calls do; see ``script``.
        nodes: ``"local"`` for real worker processes on this machine, which run tasks; ``"simulated"`` for answers only,
            with which a pool is provisioned and ended, and in which each task fails.
        clock: what tells the time. By default that of the virtual event loop that runs here, else the virtual one that
            is in use already by another cloud's block, else a new `VirtualClock`.
        forgetful: how often a machine that has ended is still described and listed as running.

    Attributes:
        name: the provider's name.
        script: what the next calls do. ``cloud.script("launch", Unavailable("sold out"), None)`` has the next launch
            fail and the one after it be an ordinary one. The methods are those of a session (``open``, ``offers``,
            ``launch``, ``describe``, ``terminate``, ``extend``, ``list_owned``, ``transport``, ``close``) and of a
            transport (``bootstrap``, ``transport.open``, ``transport.close``); ``"*"`` stands for whichever of the
            session's, without ``transport`` and ``close``, has no entries of its own. An entry may be

            - an exception, which is raised, and the call has no effect;
            - a number: the seconds that the call takes, by the clock, which moves on where no virtual loop does it;
            - a function of the call's argument, which gives the answer, or an awaitable of it;
            - ``Hang``: the call never answers;
            - ``After(entry)``: the call takes effect first, so its answer is lost or late;
            - ``Late(seconds, entry)``: the effect comes so much later;
            - ``None``: an ordinary call.
    """

    def __init__(
        self,
        name: str = "Fake",
        *,
        offers: Sequence[Offer] | None = None,
        boot_seconds: float | None = 0.0,
        capabilities: Capabilities | None = None,
        script: Mapping[str, Sequence[object]] | None = None,
        nodes: Literal["local", "simulated"] = "local",
        clock: Clock | None = None,
        forgetful: int = 0,
    ) -> None:
        if nodes not in ("local", "simulated"):
            raise ConfigurationError(f"nodes is {nodes!r}; give 'local' or 'simulated'")
        self.name = name
        self.script = Script(script)
        self._clock = _default_clock() if clock is None else clock
        self._backend = Backend(
            name,
            boot_seconds=boot_seconds,
            forgetful=forgetful,
            script=self.script,
            clock=self._clock,
            body=_local_body if nodes == "local" else _simulated_body,
        )
        real = nodes == "local"  # a simulated one runs no program that could look out for its end
        default = Capabilities(spot=True, default_lease=60, preemption_notice=real, client_environment=real)
        capable = default if capabilities is None else capabilities
        self._provider = FakeProvider(secrets.token_hex(8), name, capable, self._backend)
        self._vendor = FakeVendor(self._backend)
        self._blocks = contextlib.ExitStack()
        self._machines: dict[str, FakeMachine] = {}
        self.sell(*([spot(), on_demand()] if offers is None else offers))

    @property
    def provider(self) -> FakeProvider:
        """What a pool is given: a value that is hashable and pickles."""
        return self._provider

    @property
    def vendor(self) -> FakeVendor:
        """The cloud in the place of a vendor's server, for the conformance kit."""
        return self._vendor

    @property
    def clock(self) -> VirtualClock:
        """The cloud's clock; ``cloud.clock.advance(3600)`` lets an hour pass."""
        return cast("VirtualClock", self._clock)  # whoever gave another one knows what it can do

    # what there is

    @property
    def machines(self) -> list[FakeMachine]:
        """All machines that were ever bought, in their order."""
        for record in list(self._backend.records.values()):
            self._machines.setdefault(record.id, FakeMachine(self._backend, record))
        return list(self._machines.values())

    @property
    def alive(self) -> list[FakeMachine]:
        """The machines that cost money now."""
        return [machine for machine in self.machines if machine.alive]

    @property
    def open_sessions(self) -> int:
        """How many sessions have been opened and not closed."""
        return self._backend.open_sessions

    @property
    def sessions(self) -> list[FakeSession]:
        """All sessions that were ever opened."""
        return list(self._backend.sessions)

    @property
    def open_roads(self) -> set[str]:
        """The ids of the machines whose transport has not been closed."""
        return set(self._backend.open_roads)

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Every call so far: the method's name and its argument."""
        return list(self._backend.calls)

    def called(self, method: str) -> list[Any]:
        """What a method was called with, call by call."""
        return [argument for name, argument in self._backend.calls if name == method]

    def bill(self) -> float:
        """Dollars for all machines so far, those that are alive up to now; exact, and rounded once to a millionth."""
        self._backend.expire()
        now = self._clock.monotonic()
        return round(float(sum(dollars(record, now) for record in self._backend.records.values())), 6)

    # what happens to it

    def sell(self, *offers: Offer) -> None:
        """Sell these from now on, in place of what was sold before. To buy another one is ``Unavailable`` then.

        The machines that there are go on. An offer's provider is this cloud, whatever it says.
        """
        self._backend.sell(offers)

    def preempt(self, machine: FakeMachine | str | int, notice: float = 0.0) -> None:
        """Take a machine away from its owner ``notice`` seconds from now, by the clock.

        Args:
            machine: the machine, its id, or the index of its node: then the one that was bought last is meant.
            notice: how long it still runs. A spot machine is told so beforehand, unless that is 0: its pool hears of
                it by ``InstancePreempted``, lets it end what it runs, and replaces it. One on demand hears nothing.

        Raises:
            ConfigurationError: there is no such machine that is alive.
        """
        record = self._find(machine)
        record.notice = self._clock.monotonic() + notice
        if notice > 0 and record.offer.market == "spot":
            record.body.warn(notice)
        self._backend.arm(record)
        self._backend.expire()

    def lose(self, machine: FakeMachine | str | int) -> None:
        """Have a machine end by itself now, without a word, as by a failure of its host.

        The argument and what is raised are those of ``preempt``.
        """
        self._backend.terminate([self._find(machine).id], "lost")

    def expire(self) -> None:
        """End each machine whose time has run out. A `VirtualClock` does so by itself, as does every look at them."""
        self._backend.expire()

    def _find(self, which: FakeMachine | str | int) -> Record:
        self._backend.expire()
        wanted = which.id if isinstance(which, FakeMachine) else which
        for record in reversed(self._backend.living()):
            if wanted == (record.node if isinstance(wanted, int) else record.id):
                return record
        there = ", ".join(f"{record.id} (node {record.node})" for record in self._backend.living()) or "none"
        raise ConfigurationError(f"no machine {wanted!r} is alive; there are {there}")

    # as a block

    def __enter__(self) -> Self:
        self._blocks.enter_context(_clock.use(self._clock))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks.close()
        self.close()

    def close(self) -> None:
        """End every machine that is left, and wait until nothing of it is; the end of a block does so.

        It sells none any more, so that a pool which was not left cannot replace them.
        """
        self.sell()
        _left.closing(self._backend)
        self._backend.terminate([record.id for record in self._backend.living()], "closed")
        for record in list(self._backend.records.values()):
            record.body.clear()

    def __repr__(self) -> str:
        return f"FakeCloud(name={self.name!r}, alive={len(self.alive)})"


def _default_clock() -> Clock:
    running, used = running_clock(), _clock.current()
    if running is not None:
        return running
    return used if isinstance(used, VirtualClock) else VirtualClock()


def _local_body(backend: Backend, machine_id: str) -> Body:
    from skyward.testing._local_node import LocalNode

    return LocalNode(backend, machine_id)


def _simulated_body(backend: Backend, machine_id: str) -> Body:
    from skyward.testing._simulated import SimulatedNode

    return SimulatedNode(backend, machine_id)
