"""How long a node goes on without its client, by a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from skyward.worker.lease import Lease


def looks(lease: Lease, times: Iterable[float]) -> None:
    for now in times:
        lease.look(now)


def test_a_node_that_hears_nothing_ends_when_the_lease_is_over_and_not_before() -> None:
    lease = Lease(10, now=100)
    looks(lease, range(101, 110))
    assert not lease.is_over(109.9)
    assert lease.next_look() == 110
    assert lease.is_over(110)


def test_a_word_from_the_client_makes_it_whole_again() -> None:
    lease = Lease(10, now=100)
    looks(lease, range(101, 109))
    lease.renew(108)
    looks(lease, range(109, 117))
    assert not lease.is_over(117)
    assert lease.is_over(118)


def test_the_time_in_which_a_node_stood_still_does_not_count() -> None:
    lease = Lease(10, now=100)
    looks(lease, range(101, 105))
    lease.look(1000)
    assert not lease.is_over(1000)
    looks(lease, range(1001, 1006))
    assert not lease.is_over(1005)
    assert lease.is_over(1006)


def test_without_a_lease_nothing_ends_a_node_and_it_need_not_look() -> None:
    lease = Lease(None, now=0)
    assert lease.next_look() is None
    assert not lease.is_over(1e9)


@given(st.floats(0.1, 1000), st.lists(st.floats(0.01, 4.9), max_size=60))
def test_a_node_that_is_only_slow_has_no_more_time_than_its_lease(seconds: float, pauses: list[float]) -> None:
    lease, now = Lease(seconds, now=0), 0.0
    for pause in pauses:
        now += pause
        lease.look(now)
        assert lease.is_over(now) == (now >= seconds)
