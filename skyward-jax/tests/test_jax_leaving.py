"""What becomes of a group of jax in a process, however its function ends. Without jax."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Self

import pytest

from skyward.spi import Group, Member
from skyward_jax import _coordinators, _processes
from skyward_jax._state import State, bound_to


def planted(monkeypatch: pytest.MonkeyPatch, **state: object) -> SimpleNamespace:
    """What of jax's modules knows of its group, as if it were imported."""
    module = ModuleType("jax._src.distributed")
    found = SimpleNamespace(**{"client": None, "service": None} | state)
    module.global_state = found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def test_a_process_in_which_a_group_was_left_behind_has_to_be_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound_to(2) == ""
    planted(monkeypatch)
    assert bound_to(2) == ""
    planted(monkeypatch, client=object())
    assert bound_to(2) is None
    planted(monkeypatch, service=object())
    assert bound_to(1) is None


def test_a_function_that_initialises_jax_by_itself_finds_it_done_and_ends_nobodys_group() -> None:
    state = State.__new__(State)
    state._state = found = SimpleNamespace(client="the group's")
    with state.kept():
        found.initialize(None, None, None, None, heartbeat_timeout_seconds=100)
        found.shutdown()
        with pytest.raises(RuntimeError, match="is initialised already"):
            found.initialize("10.0.0.1:1234", 2, 0)
    assert vars(found) == {"client": "the group's"}


class Coordinator:
    """As jax's, as far as it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def shutdown(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()
        raise RuntimeError("somebody has not left")


def test_the_coordinator_of_a_call_that_failed_is_closed_without_a_further_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_coordinators, "_STOPPED", 0.01)
    coordinator = Coordinator()
    _coordinators.close_later(coordinator)
    assert coordinator.closed.wait(60)


def test_the_next_call_closes_what_was_left_of_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[threading.Timer] = []
    monkeypatch.setattr(threading.Timer, "start", lambda timer: timers.append(timer))
    first, second = Coordinator(), Coordinator()
    _coordinators.close_later(first)
    _coordinators.close_those_left()
    assert first.closed.is_set()
    _coordinators.close_later(second)
    timers[0].function(*timers[0].args, **timers[0].kwargs)
    assert not second.closed.is_set(), "its own call has not ended long ago"
    _coordinators.close_those_left()


class Part:
    """What a process has of a group: a state of jax's, and a meeting with the others."""

    coordinator: object = None
    address, port = "127.0.0.1", 1

    def __init__(self, _: object) -> None: ...

    def interrupted(self) -> None:
        raise KeyboardInterrupt

    def gloo_at(self, _: object) -> AbstractContextManager[None]:
        return nullcontext()

    client_made_by = gloo_at

    def kept(self) -> AbstractContextManager[None]:
        return nullcontext()

    def leave(self) -> None:
        self.coordinator = "the coordinator"

    def announce(self) -> None: ...

    settle = through = part = announce

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("where", ["settle", "through", "part"])
def test_a_stop_leaves_no_group_behind_wherever_it_strikes(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the process has left the coordinator already, and has not ended it, as others are still to leave."""
    left: list[object] = []
    monkeypatch.setattr(Part, where, Part.interrupted)
    monkeypatch.setattr(_processes, "State", Part)
    monkeypatch.setattr(_processes, "Meeting", Part)
    monkeypatch.setattr(_processes, "close_later", left.append)
    monkeypatch.setattr(_processes, "close", lambda _: pytest.fail("others may not have left it yet"))
    jax = SimpleNamespace(distributed=SimpleNamespace(initialize=lambda *_, **__: None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        group = Group("call", 0, (Member(0, 0, *listener.getsockname()),), listener)
        with pytest.raises(KeyboardInterrupt), _processes._member(jax, group):
            pass
    assert left == ["the coordinator"]
