"""What is decided without jax: what nodes need, which GPUs are whose, which errors are consequences, who meets whom."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky
from skyward._group import End, fate_of, first_cause, may_run_again
from skyward.spi import ComputeSpec, Group, Member
from skyward_jax import _devices, _meeting, jax
from skyward_jax._devices import demand_builds, share
from skyward_jax._judging import Parted, is_consequence
from skyward_jax._meeting import Meeting
from skyward_jax._processes import distributed


def spec(accelerator: str | None = None, concurrency: int = 1) -> ComputeSpec:
    found = None if accelerator is None else sky.Accelerator.parse(accelerator)
    return ComputeSpec(nodes=2, image=sky.Image(), accelerator=found, concurrency=concurrency)


def test_nodes_get_jax_for_their_devices_and_a_network_of_their_own() -> None:
    plain = jax.supplies(spec())
    assert plain.private_network
    assert plain.pip == ("jax>=0.10",)
    assert "jax" in plain.preload
    assert jax(cuda=13).supplies(spec("A100:2", concurrency=2)).pip == ("jax[cuda13]>=0.10",)


def test_more_processes_than_gpus_are_refused_before_anything_is_bought() -> None:
    with pytest.raises(sky.ConfigurationError, match="use concurrency=2"):
        jax.supplies(spec("A100:2", concurrency=4))


@pytest.mark.parametrize("settings", [{"cuda": 11}, {"cuda": "12"}, {"cuda": True}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(sky.ConfigurationError, match="give 12 or 13"):
        jax(**settings)


@given(st.integers(1, 16), st.integers(0, 32))
def test_gpus_are_divided_among_the_processes_of_a_node(size: int, gpus: int) -> None:
    if 0 < gpus < size:
        with pytest.raises(sky.ConfigurationError, match=f"concurrency={gpus}"):
            share(0, size, gpus)
        return
    parts = [share(rank, size, gpus) or [] for rank in range(size)]
    assert len({len(part) for part in parts}) == 1
    assert [each for part in parts for each in part] == list(range(gpus // size * size))


@pytest.mark.parametrize(
    ("accelerators", "platforms", "visible", "packages", "refused"),
    [
        (["A100"], "", "0", ["jax", "jaxlib"], True),
        (["A100"], "", "MIG-1", ["jax", "jaxlib"], True),
        (["A100"], "", "0", ["jax", "jax-cuda12-plugin"], False),
        (["A100"], "cpu", "0", ["jax", "jaxlib"], False),
        (["A100"], "", "-1", ["jax", "jaxlib"], False),
        ([], "", "0", ["jax", "jaxlib"], False),
    ],
)
def test_a_node_with_gpus_does_not_compute_on_its_cpus_in_silence(
    accelerators: list[str],
    platforms: str,
    visible: str,
    packages: list[str],
    refused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sky, "instance_info", lambda: SimpleNamespace(accelerators=accelerators))
    monkeypatch.setattr(_devices, "distributions", lambda: [SimpleNamespace(name=name) for name in packages])
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if refused:
        with pytest.raises(sky.ConfigurationError, match=r"jax\[cuda12\]"):
            demand_builds()
    else:
        demand_builds()


def test_a_function_that_has_the_decorator_is_left_as_it_is() -> None:
    @jax(cuda=13)
    def compute() -> None: ...

    assert jax(compute) is compute


class JaxRuntimeError(RuntimeError):
    """As jax names its own."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("mine"), False),
        (JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), False),
        (JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:1"), True),
        (ValueError("UNKNOWN: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/pair.cc:538] Read"), True),
        (Parted("rank 0 (node 0) ended before rank 1 did"), True),
        (sky.SlotDied("abort", signal=signal.SIGABRT), True),
        (sky.SlotDied("killed", signal=signal.SIGKILL), False),
    ],
)
def test_what_follows_from_another_process_is_known_from_what_does_not(error: BaseException, expected: bool) -> None:
    assert is_consequence(error) is expected


def test_a_process_that_aborts_is_a_victim_where_another_failed_and_else_the_cause_which_runs_again() -> None:
    def end(rank: int, error: BaseException) -> End:
        return End(rank, fate_of(error, stopped=False, judge=is_consequence), error)

    aborted, gloo = end(0, sky.SlotDied("abort", signal=signal.SIGABRT)), end(1, Parted("rank 0 ended before"))
    raised = end(2, ValueError("mine"))
    assert first_cause([aborted, gloo, raised]) == raised
    assert first_cause([gloo, aborted]) == aborted
    assert may_run_again(aborted)
    assert not may_run_again(raised)


def test_a_function_that_runs_by_itself_needs_no_jax() -> None:
    with distributed():
        pass


def groups(size: int) -> list[Group]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
    members = tuple(Member(i, 0, "127.0.0.1", each.getsockname()[1]) for i, each in enumerate(sockets))
    return [Group("call", rank, members, each) for rank, each in enumerate(sockets)]


def side_by_side(size: int, take_part: Callable[[Group], object]) -> list[object]:
    """What each of the processes, which are threads here, has come to."""
    found: list[object] = [None] * size

    def run(group: Group) -> None:
        try:
            found[group.rank] = take_part(group)
        except Exception as error:
            found[group.rank] = error

    everybody = groups(size)
    listeners = [group.listener() for group in everybody]
    threads = [threading.Thread(target=run, args=(group,)) for group in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for listener in listeners:
        listener.close()
    return found


def coordinated(meeting: Meeting) -> socket.socket | None:
    """As jax does: the coordinator listens before its port is told."""
    if meeting._held is None:
        return None
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind((meeting.address, meeting.port))
    server.listen()
    meeting.announce()
    return server


def test_all_learn_the_port_of_the_coordinator_and_leave_together() -> None:
    def take_part(group: Group) -> int:
        with Meeting(group) as meeting:
            server = coordinated(meeting)
            meeting.through()
            meeting.part()
            if server is not None:
                server.close()
            return meeting.port

    assert len(set(side_by_side(4, take_part))) == 1


def test_who_waits_for_one_that_is_gone_is_told_which_one_that_was() -> None:
    def take_part(group: Group) -> None:
        with Meeting(group) as meeting:
            server = coordinated(meeting)
            if group.rank == 2:
                return
            with meeting:
                try:
                    meeting.through()
                finally:
                    if server is not None:
                        server.close()

    first, second, third = side_by_side(3, take_part)
    assert third is None
    assert isinstance(first, Parted)
    assert "rank 2 (node 2)" in str(first)
    assert isinstance(second, Parted)


def test_a_stranger_at_the_port_is_no_process_of_the_group() -> None:
    def take_part(group: Group) -> int:
        if group.rank == 1:
            with socket.create_connection((group.head.address, group.head.port)) as stranger:
                stranger.sendall(b"\x07other/1")
                assert stranger.recv(1) == b""
        with Meeting(group) as meeting:
            server = coordinated(meeting)
            meeting.through()
            meeting.part()
            if server is not None:
                server.close()
            return meeting.port

    assert len(set(side_by_side(2, take_part))) == 1


def test_a_stranger_who_says_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meeting, "_HELLO", 3600.0)

    def take_part(group: Group) -> int:
        silent = socket.create_connection((group.head.address, group.head.port)) if group.rank == 1 else None
        with Meeting(group) as meeting:
            server = coordinated(meeting)
            meeting.through()
            meeting.part()
            for each in (server, silent):
                if each is not None:
                    each.close()
            return meeting.port

    assert len(set(side_by_side(2, take_part))) == 1


def test_a_first_process_that_is_gone_is_the_cause_of_what_the_others_meet_in_its_place() -> None:
    _, second = everybody = groups(2)
    everybody[0].listener().close()
    with second.listener(), pytest.raises(Parted, match=r"rank 1 \(node 1\) cannot reach rank 0") as caught:
        Meeting(second)
    assert is_consequence(caught.value)


def test_who_is_through_and_waits_for_long_says_for_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    both = threading.Event()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            if len(said) == 2:
                both.set()

    def take_part(group: Group) -> None:
        with Meeting(group) as meeting:
            server = coordinated(meeting)
            if group.rank == 1:
                assert both.wait(60)
            meeting.through()
            meeting.part()
            if server is not None:
                server.close()

    monkeypatch.setattr(_meeting, "_LATE", 0.01)
    handler = Listening()
    _meeting._log.addHandler(handler)
    try:
        assert side_by_side(3, take_part) == [None] * 3
    finally:
        _meeting._log.removeHandler(handler)
    assert sorted(line.partition(", still at work")[0] for line in said) == [
        "rank 0 has returned from its function and waits for rank 1",
        "rank 2 has returned from its function and waits for others",
    ]
