"""What is decided without TensorFlow: what nodes need, which GPUs are whose, who has a port, who can be reached."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import skyward as sky
from skyward.spi import ComputeSpec, Group, Member
from skyward_tensorflow import _port, _worker, tensorflow
from skyward_tensorflow._port import demand_the_first, exposed, kept, warn_of_exposure
from skyward_tensorflow._worker import take_gpus, worker


@pytest.fixture
def group() -> Iterator[Callable[..., Group]]:
    """Makes the group of a call as one of its ranks has it, whose socket is open, as nobody else's is."""
    with ExitStack() as after:

        def made(rank: int = 0, size: int = 1, *, nodes: int = 1) -> Group:
            sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
            members = tuple(
                Member(place * nodes // size, place % (size // nodes), "127.0.0.1", each.getsockname()[1])
                for place, each in enumerate(sockets)
            )
            for place, each in enumerate(sockets):
                if place != rank:
                    each.close()
            return Group("call", rank, members, after.enter_context(sockets[rank]))

        yield made


def test_more_workers_than_gpus_are_refused_before_anything_is_bought() -> None:
    two = sky.Accelerator.parse("A100:2")
    with pytest.raises(sky.ConfigurationError, match="use concurrency=2"):
        tensorflow.supplies(ComputeSpec(nodes=1, image=sky.Image(), accelerator=two, concurrency=4))
    enough = tensorflow.supplies(ComputeSpec(nodes=1, image=sky.Image(), accelerator=two, concurrency=2))
    assert enough.pip == ("tensorflow[and-cuda]>=2.20",)


def test_a_function_that_has_the_decorator_is_left_as_it_is() -> None:
    @tensorflow
    def compute() -> None: ...

    assert tensorflow()(compute) is compute


def test_a_function_that_runs_by_itself_needs_no_tensorflow() -> None:
    with worker():
        assert "TF_CONFIG" not in os.environ


def is_free(port: int, host: str) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind((host, port))
        except OSError:
            return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, whose rules of sharing ports it is about")
def test_a_port_is_nobody_elses_from_the_beginning_until_tensorflow_listens_there(group: Callable[..., Group]) -> None:
    own = group()
    port = own.head.port
    own.reached().close()  # by another worker, which was here before this one
    with kept(own):
        assert not is_free(port, "127.0.0.1")
        assert not is_free(port, "0.0.0.0")  # as TensorFlow listens
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        with socket.create_server(("", port), family=family, reuse_port=True, dualstack_ipv6=both):
            socket.create_connection(("127.0.0.1", port)).close()
    assert is_free(port, "127.0.0.1")


def test_a_system_that_shares_no_ports_gives_the_port_as_it_is(
    group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    own = group()
    with kept(own), socket.create_server(("127.0.0.1", own.head.port)):
        pass


def test_a_first_worker_that_nobody_can_reach_is_told_at_once(
    group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = group(1, 2)
    demand_the_first(group(0, 2))  # itself
    demand_the_first(own)  # nobody listens at its port any more, which is an answer

    def times_out(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    def resets(*_: object, **__: object) -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(socket, "create_connection", resets)
    demand_the_first(own)  # its listener was closed meanwhile, for TensorFlow to have the port
    monkeypatch.setattr(socket, "create_connection", times_out)
    with pytest.raises(ConnectionError, match=r"rank 1 \(node 0\) cannot reach rank 0 .* timed out"):
        demand_the_first(own)


def test_addresses_that_all_the_world_may_reach_are_known() -> None:
    there = [
        "127.0.0.1",
        "::1",
        "10.0.0.5",
        "192.168.1.1",
        "fe80::1%eth0",
        "02:42:ac:11:00:02",
        "1.1.1.1",
        "2606:4700::1",
    ]
    assert exposed(there) == ["1.1.1.1", "2606:4700::1"]


def test_one_worker_of_a_node_says_where_tensorflow_listens_for_all_the_world(
    group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    psutil = SimpleNamespace(net_if_addrs=lambda: {"eth0": [SimpleNamespace(address="1.1.1.1")]})
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    with caplog.at_level(logging.WARNING, _port._log.name):
        for rank in range(4):
            warn_of_exposure(group(rank, 4, nodes=2))
    assert ["node 0, 1.1.1.1 among them" in caplog.text, "node 1" in caplog.text, len(caplog.records)] == [
        True,
        True,
        2,
    ]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A node with GPUs, as TensorFlow sees them: those that are there, and those that were chosen."""
    found = SimpleNamespace(there=["0", "1", "2", "3"], chosen=[])
    module = ModuleType("tensorflow")
    module.config = SimpleNamespace(  # type: ignore[attr-defined]
        list_physical_devices=lambda _: found.there,
        get_visible_devices=lambda _: found.there,
        set_visible_devices=lambda own, _: found.chosen.append(own),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    monkeypatch.setattr(sky, "instance_info", lambda: SimpleNamespace(accelerators=["A100"] * 4))
    monkeypatch.setattr(_worker, "_has_nvidia", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def test_the_gpus_of_a_node_are_divided_among_its_workers(group: Callable[..., Group], gpus: Any) -> None:
    take_gpus(group())
    assert gpus.chosen == []
    for rank in range(2):
        take_gpus(group(rank, 2))
    assert gpus.chosen == [["0", "2"], ["1", "3"]]
    with pytest.raises(sky.ConfigurationError, match="use concurrency=4 or less"):
        take_gpus(group(5, 6))


def test_a_node_with_gpus_does_not_compute_on_its_cpus_in_silence(
    group: Callable[..., Group], gpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.there = []
    with pytest.raises(sky.ConfigurationError, match=r"tensorflow\[and-cuda\]"):
        take_gpus(group())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    take_gpus(group())
