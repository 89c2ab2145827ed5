"""What a group tells its members and how ports are had, without nodes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

import skyward as sky
from skyward.spi import Group, Member
from skyward.worker.group import Meeting

PATIENCE = 60.0
"""Seconds after which a test gives up waiting; no promise is measured by it."""


def together(fn: Callable[..., Any], retry: int = 0) -> sky.ComputeFunction[..., Any]:
    return sky.ComputeFunction(fn, retry, together=True)


def test_the_function_of_a_group_stays_one_however_it_is_wrapped_and_sent() -> None:
    import pickle

    class Trainer:
        @sky.compute
        def plain(self) -> int:
            return 1

        def run(self) -> int:
            return 1

    function = together(os.getpid, 2)
    assert (function.together, function.retry) == (True, 2)
    assert sky.compute(function) is function
    again = sky.compute(retry=3)(function)
    assert (again.together, again.retry) == (True, 3)
    copy = pickle.loads(pickle.dumps(function))
    assert (copy.together, copy.retry) == (True, 2)
    assert not sky.compute(os.getpid).together
    assert together(Trainer.run).__get__(Trainer()).together


def test_a_group_is_shown_by_its_rank_and_size() -> None:
    from skyward.spi import Member

    group = Group("abc", 1, (Member(0, 0, "10.0.0.1", 5), Member(1, 0, "10.0.0.2", 6)), None)
    assert repr(group) == "<rank 1 of 2 in the group of call abc>"


def test_a_port_is_the_same_for_a_call_that_asks_again_and_another_one_for_the_next() -> None:
    meeting = Meeting(0, 0)
    _, first, _ = meeting.asked(1, "one", "127.0.0.1")
    assert meeting.asked(1, "one", "127.0.0.1") == (1, first, "")
    _, second, _ = meeting.asked(2, "two", "127.0.0.1")
    assert second
    with socket.create_server(("127.0.0.1", first)):
        pass  # that of the call before was given back
    meeting.begin(3)  # a task that is in no group
    with socket.create_server(("127.0.0.1", second)):
        pass


def test_the_port_of_a_call_that_does_not_come_is_given_back_and_that_of_another_one_is_kept() -> None:
    meeting = Meeting(0, 0)
    _, port, _ = meeting.asked(1, "two", "127.0.0.1")
    meeting.part("one")
    with socket.create_connection(("127.0.0.1", port), PATIENCE):
        pass
    meeting.part("two")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE)


def test_a_node_behind_a_translated_address_listens_at_its_own() -> None:
    meeting = Meeting(0, 0)
    _, port, why = meeting.asked(1, "one", "192.0.2.1")  # of a network that is for examples alone
    assert why == ""
    with socket.create_connection(("127.0.0.1", port), PATIENCE):
        pass
    meeting.end()
    _, port, why = meeting.asked(2, "two", "1.2.3.4.5")
    assert port == 0
    assert why


def test_the_head_is_reached_at_its_port_or_the_error_says_who_did_not_reach_whom() -> None:
    from skyward.spi import Member

    with socket.create_server(("127.0.0.1", 0)) as head, socket.create_server(("127.0.0.1", 0)) as beside:
        ports = [head.getsockname()[1], beside.getsockname()[1]]
        group = Group("abc", 1, (Member(0, 0, "127.0.0.1", ports[0]), Member(3, 0, "10.0.0.2", 6)), None)
        with group.reached() as link:
            assert link.getpeername()[1] == ports[0]
        with group.reached(ports[1], seconds=PATIENCE) as link:
            assert link.getpeername()[1] == ports[1]
    with pytest.raises(
        ConnectionError, match=rf"rank 1 \(node 3\) cannot reach rank 0 \(node 0\) at 127\.0\.0\.1:{ports[0]}: .*must"
    ):
        group.reached()


def test_a_port_that_another_one_has_taken_over_is_said_to_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        group = Group("call", 0, (Member(0, 0, *listener.getsockname()),), listener)
        assert group.listener() is listener
    with pytest.raises(RuntimeError, match="taken over before: of integrations that form a group, such as torch, jax"):
        group.listener()
