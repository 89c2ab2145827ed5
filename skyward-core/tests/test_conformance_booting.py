"""The rules of boots: each is broken by a provider that the kit catches, one by an impostor in a machine's place."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import pytest
from attrs import evolve
from conformance_bent import Bent, Case, Instance, Make, Straight, session
from conformance_teeth import assert_bites, rules_of
from ssh_impostor import make_impostor as make_impostor

from skyward.spi import InstanceState, SshAddress, SshTransport, new_key_pair
from skyward.testing import Fault
from skyward.testing.conformance._booting import BootRules


class Ready(Straight):
    """Knows machines once they run."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: each for name, each in found.items() if each.state is not InstanceState.PENDING}

    async def list_owned(self, pool_id: str | None = None, /) -> Any:
        return [each for each in await self.inner.list_owned(pool_id) if each.state is not InstanceState.PENDING]


class Unlisted(Ready):
    async def describe(self, ids: Sequence[str], /) -> Any:
        return await self.inner.describe(ids)


class Early(Straight):
    """Takes what exists for what runs."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {
            name: each if each.state is InstanceState.GONE else evolve(each, state=InstanceState.RUNNING)
            for name, each in found.items()
        }


class Doubtful(Straight):
    """Never believes that a machine runs."""

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: evolve(each, state=InstanceState.PENDING) for name, each in found.items()}


class Sparing(Straight):
    """Ends what runs, and strikes what does not off its list."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.struck: set[str] = set()

    async def describe(self, ids: Sequence[str], /) -> Any:
        found = await self.inner.describe(ids)
        return {name: each for name, each in found.items() if name not in self.struck}

    async def terminate(self, ids: Sequence[str], /) -> None:
        found = await self.inner.describe(ids)
        self.struck |= {name for name, each in found.items() if each.state is InstanceState.PENDING}
        await self.inner.terminate([name for name in ids if name not in self.struck])


SLOW, STUCK = "test_a_slow_boot_is_pending_until_it_runs", "test_a_boot_that_is_stuck_can_be_ended"

BOOTS: list[tuple[str, Make, str]] = [
    (SLOW, session(Ready), "i-0 is not known to describe while it boots; say PENDING"),
    (SLOW, session(Early), "i-0 is RUNNING and has no ip; say PENDING"),
    (SLOW, session(Doubtful), "i-0 is pending 30 s after a slow boot; say RUNNING"),
    (STUCK, session(Ready), "i-0 is not known to describe although it never comes to run; say PENDING"),
    (STUCK, session(Early), "i-0 is running to describe although it never comes to run; say PENDING"),
    (STUCK, session(Unlisted), "list_owned does not find i-0 while it boots; list what exists"),
    (STUCK, session(Sparing), "i-0 exists after terminate because it never came to run; end machines in any"),
]


@pytest.mark.parametrize(("test", "make", "says"), BOOTS)
def test_a_provider_that_breaks_the_rule_is_caught(case: Case, test: str, make: Make, says: str) -> None:
    assert_bites(case, test, make(case), says)


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    assert {*(test for test, *_ in BOOTS), "test_a_wrong_host_key_is_refused"} == rules_of(BootRules)


# ---- a stranger in the machine's place -------------------------------------------------------------------------------


class Elsewhere(Straight):
    """Machines at whose address an impostor answers."""

    port = 0
    host_key: str | None = None

    def transport(self, instance: Instance, wire: Any, /) -> Any:
        address = SshAddress(
            host="127.0.0.1",
            port=self.port,
            username="root",
            host_key=self.host_key,
            key=new_key_pair("client"),
            config=(),
        )
        return SshTransport(instance.id, address, self.identity, wire)


class Real(Case):
    """The kit on the system's time, with a vendor that can put somebody else in a machine's place."""

    patience = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.premises.faults = frozenset(Fault)

    def run[T](self, main: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(main)


WRONG = Fault.WRONG_HOST_KEY


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    """A case whose wrong host key is played already: whoever answers has no other."""
    case = Real()
    inject = case.premises.inject
    monkeypatch.setattr(case.premises, "inject", lambda fault, times=1: fault is WRONG or inject(fault, times))
    with case.cloud:
        yield case


def test_a_provider_that_hands_the_host_key_on_refuses_a_stranger(real: Real, make_impostor: Any) -> None:
    class Wary(Elsewhere):
        port, host_key = make_impostor().port, new_key_pair("host").public

    real.test_a_wrong_host_key_is_refused(Bent(real.cloud.provider, Wary))


def test_a_provider_that_keeps_the_host_key_to_itself_is_caught(real: Real, make_impostor: Any) -> None:
    class Trusting(Elsewhere):
        port = make_impostor().port

    real.patience = 5.0  # it tries for longer than that
    says = "the road to a machine with another host key .* was not refused for that, but with .*; give its key"
    assert_bites(real, "test_a_wrong_host_key_is_refused", Bent(real.cloud.provider, Trusting), says)
