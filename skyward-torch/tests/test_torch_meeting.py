"""How the ranks of a group meet and part, with a store that stands in for torch's."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from skyward.spi import Group, Member
from skyward_torch import _meeting
from skyward_torch._meeting import Meeting


class Store:
    """All of torch's store that is used, and a clock that goes on by a second with each pause between two looks."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.seconds = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def add(self, key: str, amount: int) -> int:
        self.values[key] = self.values.get(key, 0) + amount
        return int(self.values[key])

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def sleep(self, _seconds: float) -> None:
        self.seconds += 1.0
        self.meanwhile()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(_meeting, "time", SimpleNamespace(monotonic=lambda: store.seconds, sleep=store.sleep))
    return store


def dist(store: Store | Exception, made: list[dict[str, Any]] | None = None) -> Any:
    """Stands in for torch.distributed; notes what stores are made with."""

    def tcp_store(*_: Any, **settings: Any) -> Any:
        if made is not None:
            made.append(settings)
        if isinstance(store, Exception):
            raise store
        return store

    return SimpleNamespace(TCPStore=tcp_store)


def group(rank: int, size: int, listener: socket.socket) -> Group:
    port = listener.getsockname()[1]
    members = tuple(Member(each, 0, "127.0.0.1", port) for each in range(size))
    return Group("call", rank, members, listener if rank == 0 else None)


def test_a_rank_that_waits_for_others_long_after_its_end_says_for_whom_and_only_one_does(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def end() -> None:
        if store.seconds > 40:
            store.set("all through", "")

    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.WARNING, "skyward.torch"):
        ranks = [Meeting(dist(store), group(rank, 3, listener), "train") for rank in (1, 2)]
        store.meanwhile = end
        ranks[0].all_are_through()
        (record,) = caplog.records
        assert record.getMessage() == (
            "rank 1 has returned from train and waits for ranks 0, 2, still at work; if they wait for an operation of "
            "all ranks, have all ranks make equally many steps"
        )
        store.seconds = 0.0
        del store.values["all through"]
        ranks[1].all_are_through()
    assert len(caplog.records) == 1


def test_ranks_that_end_together_say_nothing_of_it(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.meanwhile = lambda: store.set("all through", "") if store.seconds > 5 else None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Meeting(dist(store), group(1, 2, listener), "train").all_are_through()
    assert not caplog.records


def test_a_first_rank_that_cannot_be_reached_is_named_before_torch_tries_for_minutes(store: Store) -> None:
    made: list[dict[str, Any]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        alone = group(1, 2, listener)
    with pytest.raises(ConnectionError, match=r"rank 1 \(node 1\) cannot reach rank 0 \(node 0\) at 127\.0\.0\.1"):
        Meeting(dist(store, made), alone)
    assert not made


def test_a_store_that_cannot_be_made_leaves_no_port_that_answers() -> None:
    made: list[dict[str, Any]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RuntimeError, match="torch's"):
            Meeting(dist(RuntimeError("torch's"), made), group(0, 2, listener))
        (settings,) = made  # the descriptor is torch's, which has not closed it
        with socket.socket(fileno=settings["master_listen_fd"]), pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_an_older_torch_gets_the_same_socket_for_its_older_server(store: Store) -> None:
    made: list[dict[str, Any]] = []
    answers: list[Any] = [NotImplementedError(), store]
    older = dist(store)

    def tcp_store(*_: Any, **settings: Any) -> Any:
        made.append(settings)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    older.TCPStore = tcp_store
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Meeting(older, group(0, 2, listener))
    first, second = made
    assert second == {**first, "use_libuv": False}
    socket.socket(fileno=first["master_listen_fd"]).close()
