"""A provider that is right, over a fake cloud on virtual time; what breaks a rule is this with one change."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any

import pytest
from attrs import field, frozen

from skyward.spi import (
    Capabilities,
    ComputeSpec,
    Finding,
    Instance,
    LaunchRequest,
    Offer,
    PoolIdentity,
    Provider,
    Session,
)
from skyward.testing import FakeCloud, ProviderConformance
from skyward.testing._loop import VirtualLoop, run


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


class Case(ProviderConformance):
    """The kit on a cloud of its own."""

    patience = 30.0
    short_life: float | None = 1800.0
    short_lease: float | None = 600.0
    refused: Provider | None = None

    def __init__(self) -> None:
        self.cloud = FakeCloud(nodes="simulated", boot_seconds=5)

    def existing(self) -> Collection[str] | None:
        return [machine.id for machine in self.cloud.alive]

    def unauthorised(self) -> Provider | None:
        return self.refused

    def run[T](self, main: Coroutine[Any, Any, T]) -> T:
        return run(main, VirtualLoop(self.cloud.clock))

    def records(self) -> Mapping[str, Any]:
        """The cloud's own books."""
        return self.cloud._backend.records


__all__ = ["Bent", "Case", "Instance", "LaunchRequest", "Offer", "Straight", "known"]


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
