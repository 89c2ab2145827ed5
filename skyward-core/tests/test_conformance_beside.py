"""The rules of what an integration supplies and puts around pools: an example keeps them, and each rule has teeth."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import field, frozen
from conformance_teeth import assert_bites, rules_of

import skyward as sky
from skyward.spi import ComputeSpec, Integration, Supplies
from skyward.testing.conformance import IntegrationConformance
from skyward.testing.conformance._beside import BesideRules


@contextlib.contextmanager
def nothing(_pool: object) -> Iterator[None]:
    yield


@frozen
class Equipping:
    """Leaves functions as they are, supplies nodes, and surrounds pools, in the ways that it is given."""

    give: Callable[[ComputeSpec], Any] = lambda _: Supplies(pip=["attrs>=24"], env={"ACME": "1"}, preload=["json"])
    surround: Callable[[sky.ComputePool], Any] = field(default=nothing)

    def __call__(self, function: sky.ComputeFunction[..., Any]) -> sky.ComputeFunction[..., Any]:
        return sky.compute(function)

    def supplies(self, spec: ComputeSpec) -> Any:
        return self.give(spec)

    def around(self, pool: sky.ComputePool) -> Any:
        return self.surround(pool)


class TestAnExample(IntegrationConformance):
    @pytest.fixture
    def integration(self) -> Integration:
        return Equipping()


def counting() -> Callable[[object], Supplies]:
    numbers = itertools.count(1)
    return lambda _: Supplies(pip=[f"six>={next(numbers)}"])


def connecting(_spec: object) -> Supplies:
    with socket.socket():
        return Supplies()


def turning(spec: ComputeSpec) -> Supplies:
    """Names something else where the image names it."""
    return Supplies(pip=["six"] if spec.image.pip else ["attrs"])


@contextlib.contextmanager
def swallowing(_pool: object) -> Iterator[None]:
    with contextlib.suppress(Exception):
        yield


@contextlib.contextmanager
def translating(_pool: object) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RuntimeError("the block failed") from error


class Single:
    """One for all pools, which knows one pool at a time."""

    def __init__(self) -> None:
        self.entered = False

    def __call__(self, _pool: object) -> contextlib.AbstractContextManager[None]:
        return self.manager()

    @contextlib.contextmanager
    def manager(self) -> Iterator[None]:
        if self.entered:
            raise RuntimeError("another pool is surrounded already")
        self.entered = True
        yield
        self.entered = False


class Spoiling:
    """Has calls give something else: inside of it, or from there on."""

    def __init__(self, *, inside: bool) -> None:
        self.inside = inside

    @contextlib.contextmanager
    def __call__(self, pool: Any) -> Iterator[None]:
        if self.inside:
            pool.run = lambda _pending: _dropped(_pending)
        yield
        pool.run = _dropped


def _dropped(pending: Any) -> None:
    pending.dispatched = True


SAME = contextlib.nullcontext()

MUTANTS: list[tuple[str, Any, str]] = [
    ("test_it_gives_supplies", Equipping(lambda _: {"pip": []}), r"supplies gave \{'pip': \[\]\}; return"),
    ("test_it_supplies_the_same_when_it_is_asked_again", Equipping(counting()), "six>=1.* and then .*six>=2.*; let"),
    (
        "test_it_says_what_it_supplies_without_network_processes_or_waiting",
        Equipping(connecting),
        "supplies opens a socket; say it",
    ),
    (
        "test_its_requirements_can_be_met_together",
        Equipping(lambda _: Supplies(pip=["six==1.16", "six<1"])),
        r"no environment can meet .* six==1.16, and one needs six<1.*; let it name",
    ),
    ("test_it_leaves_packages_to_the_image_that_names_them", Equipping(turning), r"all of \['attrs'\], .*; name"),
    (
        "test_what_it_puts_around_a_pool_is_entered_and_left",
        Equipping(surround=lambda _: None),
        "around gave None; return a context manager",
    ),
    (
        "test_what_it_puts_around_a_pool_is_entered_and_left",
        Equipping(surround=Spoiling(inside=True)),
        "gave None inside of what is around the pool; leave results",
    ),
    (
        "test_what_it_puts_around_a_pool_is_entered_and_left",
        Equipping(surround=Spoiling(inside=False)),
        "gave None after what was around the pool; leave the pool usable",
    ),
    (
        "test_it_surrounds_pools_side_by_side_and_one_after_another",
        Equipping(surround=lambda _: SAME),
        "the same context manager for two pools; make a new one",
    ),
    (
        "test_it_surrounds_pools_side_by_side_and_one_after_another",
        Equipping(surround=Single()),
        "with one pool inside another one, RuntimeError was raised: another pool .*; keep",
    ),
    ("test_it_is_not_what_ends_an_error_of_the_block", Equipping(surround=swallowing), "nothing came out; return"),
    ("test_it_is_not_what_ends_an_error_of_the_block", Equipping(surround=translating), r"RuntimeError\(.* out; let"),
]


@pytest.mark.parametrize(("test", "integration", "says"), MUTANTS)
def test_an_integration_that_breaks_the_rule_is_caught(test: str, integration: Integration, says: str) -> None:
    assert_bites(IntegrationConformance(), test, integration, says)


def test_every_rule_has_an_integration_that_breaks_it() -> None:
    assert rules_of(BesideRules) == {test for test, _, _ in MUTANTS}


def test_an_integration_that_only_decorates_is_not_asked_for_more() -> None:
    for test in rules_of(BesideRules):
        with pytest.raises(pytest.skip.Exception, match=r"it has no (supplies|around)"):
            getattr(IntegrationConformance(), test)(sky.compute)
