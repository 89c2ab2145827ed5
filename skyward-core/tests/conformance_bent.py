"""A provider that is right, over a fake cloud on virtual time; what breaks a rule is this with one change."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import pytest
from attrs import evolve, field, frozen

from skyward.spi import (
    Capabilities,
    ComputeSpec,
    Finding,
    Instance,
    InstanceState,
    LaunchRequest,
    Offer,
    PoolIdentity,
    Provider,
    Session,
)
from skyward.testing import FakeCloud, ProviderConformance, Vendor
from skyward.testing._loop import VirtualLoop, run
from skyward.testing._vendor import FakeVendor


def known[K: type](kind: K) -> K:
    """Let a class that a function has made be found by name, so that it pickles."""
    name = f"{kind.__name__}{next(_numbers)}"
    kind.__module__, kind.__qualname__ = __name__, name
    globals()[name] = kind
    return kind


_numbers = itertools.count()


class Straight:
    """Passes every call on. ``inner`` is the fake cloud's own session."""

    def __init__(self, inner: Session, identity: PoolIdentity, provider: Bent) -> None:
        self.inner = inner
        self.identity = identity
        self.provider = provider

    async def offers(self, spec: ComputeSpec, /) -> Any:
        return await self.inner.offers(spec)

    async def launch(self, request: LaunchRequest, /) -> Any:
        return await self.inner.launch(request)

    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe(ids)

    async def terminate(self, ids: Sequence[str], /) -> None:
        await self.inner.terminate(ids)

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        await self.inner.extend(ids, deadline)

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return await self.inner.list_owned(pool_id)

    def transport(self, instance: Instance, wire: Any, /) -> Any:
        return self.inner.transport(instance, wire)

    async def close(self) -> None:
        await self.inner.close()


@frozen
class Bent:
    """Settings: a fake cloud's provider, and the class of the session that stands before its own."""

    inner: Any
    kind: type[Straight] = Straight
    name: Any = "Fake"
    capabilities: Any = field(default=Capabilities(spot=True, default_lease=60), hash=False)

    def seen(self, identity: PoolIdentity) -> PoolIdentity:
        """What the fake cloud's session gets to know."""
        return identity

    async def open(self, identity: PoolIdentity, /) -> Any:
        return self.kind(await self.inner.open(self.seen(identity)), identity, self)

    async def check(self) -> Any:
        return [Finding(subject="credentials", detail="of a test")]


class Premises(FakeVendor):
    """A vendor that knows what else a pool has, and what machines are given."""

    by_backend: ClassVar[WeakKeyDictionary[Any, Premises]] = WeakKeyDictionary()

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self.things: set[str] = set()
        self.given: dict[str, str] = {}
        self.by_backend[backend] = self

    def belongings(self) -> Collection[str]:
        return set(self.things)

    def user_data(self, name: str, /) -> str:
        return self.given.get(name, "")


class Whole(Straight):
    """Has all that is optional: a key for each pool, a script for each machine, a word before a preemption."""

    @property
    def premises(self) -> Premises:
        return Premises.by_backend[self.provider.inner._backend]

    def script(self) -> str:
        """What a machine is given for its first boot."""
        left = (self.identity.deadline or 0.0) - self.provider.inner._backend.clock.time()
        return f"#!/bin/sh\nsleep {round(left)}; poweroff\n"

    async def launch(self, request: LaunchRequest, /) -> Any:
        self.premises.things.add(f"key-{self.identity.pool_id}")
        made = await self.inner.launch(request)
        self.premises.given |= {machine.id: self.script() for machine in made}
        return made

    def lives(self, pool_id: str) -> bool:
        """Whether a pool has a machine."""
        records = self.provider.inner._backend.living()
        return any(record.pool_id == pool_id for record in records)

    def clear(self) -> None:
        """Remove what the session's own pool has, after its last machine."""
        if not self.lives(self.identity.pool_id):
            self.premises.things.discard(f"key-{self.identity.pool_id}")

    async def terminate(self, ids: Sequence[str], /) -> None:
        self.premises.things -= set(ids)
        await self.inner.terminate([name for name in ids if not name.startswith("key-")])
        self.clear()

    async def list_left(self, pool_id: str | None = None, /) -> Any:
        pools = [name.removeprefix("key-") for name in sorted(self.premises.things)]
        return [
            Instance(id=f"key-{each}", state=InstanceState.RUNNING, pool_id=each)
            for each in pools
            if pool_id in (None, each) and not self.lives(each)
        ]

    def lookout(self, instance: Instance, /) -> str | None:
        return "print('{}')"

    async def close(self) -> None:
        self.clear()
        await self.inner.close()


EVERYTHING = Capabilities(spot=True, default_lease=60, user_data=True, preemption_notice=True)
"""What `Whole` has."""


class Case(ProviderConformance):
    """The kit on a cloud of its own."""

    patience = 30.0
    short_life: float | None = 1800.0
    short_lease: float | None = 600.0
    refused: Provider | None = None

    def __init__(self) -> None:
        self.cloud = FakeCloud(nodes="simulated", boot_seconds=5)
        self.premises = Premises(self.cloud._backend)

    def vendor(self) -> Vendor | None:
        return self.premises

    def unauthorised(self) -> Provider | None:
        return self.refused

    def run[T](self, main: Coroutine[Any, Any, T]) -> T:
        return run(main, VirtualLoop(self.cloud.clock))

    def records(self) -> Mapping[str, Any]:
        """The cloud's own books."""
        return self.cloud._backend.records


__all__ = ["EVERYTHING", "Bent", "Case", "Instance", "LaunchRequest", "Offer", "Straight", "Whole", "known"]


type Make = Callable[[Case], Any]
"""Makes the provider that breaks a rule, over the cloud of its case."""


@pytest.fixture
def case() -> Iterator[Case]:
    """The kit, on a cloud that is there for one test."""
    case = Case()
    with case.cloud:
        yield case


def session(kind: type[Straight]) -> Make:
    """A provider whose sessions break a rule."""
    return lambda case: Bent(case.cloud.provider, kind)


def whole(kind: type[Straight]) -> Make:
    """A provider that declares all that `Whole` has, and whose sessions break a rule."""
    return lambda case: Bent(case.cloud.provider, kind, capabilities=EVERYTHING)


def declared(kind: type[Straight] = Straight, **capabilities: Any) -> Make:
    """A provider that declares something else."""
    return lambda case: Bent(case.cloud.provider, kind, capabilities=evolve(EVERYTHING, **capabilities))
