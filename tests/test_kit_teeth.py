"""The conformance kit catches what authors of providers get wrong: mistakes of theirs, planted one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator

import planted_machines as planted_machines
import planted_orders as planted_orders
import planted_secrets as planted_secrets
import pytest
from fake_acme import TOKEN, FakeAcme
from planted import MISTAKES, Mistake, Planted

from skyward.testing import Broken, ProviderConformance


class Kit(ProviderConformance):
    longest_pause = 0.1
    cancellations = 12
    patience = 60.0

    def __init__(self, fake: FakeAcme) -> None:
        self.fake = fake

    def vendor(self) -> FakeAcme:
        return self.fake


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """The kit, over a server of its own."""
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    fake = FakeAcme()
    yield Kit(fake)
    fake.close()


def broken(kit: Kit, rule: str, provider: Planted) -> str:
    """What the kit says of it."""
    with pytest.raises(Broken) as caught:
        getattr(kit, rule)(provider)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_a_mistake_is_caught(kit: Kit, name: str) -> None:
    mistake = MISTAKES[name]
    provider = Planted(endpoint=kit.fake.endpoint, mistake=name)
    kit.patience = 5.0  # for which some of the rules wait in vain
    said = broken(kit, mistake.rule, provider)
    if "did not answer within 5 s" in said:  # by a busy machine
        kit.patience = 60.0
        said = broken(kit, mistake.rule, provider)
    assert re.search(mistake.says, said), said
    assert "m-0" in kit.fake.machines, "a stranger's machine was touched"


def test_without_a_mistake_the_same_rules_hold(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MISTAKES, "", Mistake)
    for rule in sorted({mistake.rule for name, mistake in MISTAKES.items() if name}):
        getattr(kit, rule)(Planted(endpoint=kit.fake.endpoint, mistake=""))


def test_there_are_more_than_twenty_of_them() -> None:
    assert len(MISTAKES) > 20
