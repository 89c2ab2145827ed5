"""What needs no torch: settings, what a pool is given and refused, the choice of a backend, whose fault an error is."""

from __future__ import annotations

import pickle
import signal
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky
from skyward.spi import ComputeSpec, Group, Member
from skyward_torch import Torch, _devices, torch
from skyward_torch._binding import bound_to
from skyward_torch._devices import Place, agreed_backend, demand_builds
from skyward_torch._judging import is_consequence
from skyward_torch._process_group import variables


def spec(**settings: Any) -> ComputeSpec:
    accelerator = settings.pop("accelerator", None)
    if accelerator is not None:
        settings["accelerator"] = sky.Accelerator.parse(accelerator)
    return ComputeSpec(**{"nodes": 2, "image": sky.Image(), **settings})


# ---- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_a_value_that_travels() -> None:
    made = torch(backend="NCCL", timeout=60)
    assert made == Torch(backend="nccl", timeout=60.0)
    assert pickle.loads(pickle.dumps(made)) == made
    assert len({made, Torch(), torch()}) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backend": "ncll"}, "did you mean 'nccl'"),
        ({"backend": "mpi"}, "use 'nccl' for GPUs or 'gloo' for CPUs"),
        ({"backend": 3}, "backend=3"),
        ({"timeout": 0}, "seconds above 0"),
        ({"timeout": True}, "timeout=True"),
        ({"timeout": "1"}, "timeout='1'"),
        ({"timeout": float("inf")}, "leave it out"),
        ({"wheels": "cuda"}, "such as 'cu128'"),
        ({"wheels": 128}, "wheels=128"),
    ],
)
def test_settings_that_mean_nothing_are_refused_with_what_would(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=said):
        torch(**settings)


def test_settings_and_functions_are_given_in_calls_of_their_own() -> None:
    made: Any = torch
    for function, settings in (("nccl", {}), (len, {"backend": "gloo"})):
        with pytest.raises(sky.ConfigurationError, match="settings by name"):
            made(function, **settings)


def test_functions_run_together_however_they_are_decorated_and_by_themselves_without_torch() -> None:
    @torch
    def bare(x: int) -> int:
        return x + 1

    @torch(backend="gloo")
    @sky.compute(retry=2)
    def above(x: int) -> int:
        return x + 2

    @sky.compute
    @torch()
    def below(x: int) -> int:
        return x + 3

    for function, retry, result in ((bare, 0, 2), (above, 2, 3), (below, 0, 4)):
        assert (function.together, function.retry, function.local(1)) == (True, retry, result)


def test_the_setting_that_stands_nearer_to_the_function_holds() -> None:
    @torch(backend="gloo", timeout=60)
    def run() -> None: ...

    assert torch(backend="nccl")(run) is run
    assert torch(sky.compute(run)).local is run.local


def test_the_client_imports_no_torch_although_it_could(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise AssertionError('imported on the client')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    made = torch(backend="gloo")
    made.supplies(spec())
    function = made(lambda: None)
    function.local()
    assert not is_consequence(ValueError())
    assert not bound_to(1)


# ---- what a pool is given, and refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wheels", "settings", "env"),
    [
        (None, {}, "auto"),
        (None, {"accelerator": "A100"}, None),
        (None, {"accelerator": "MI300X"}, "auto"),
        (None, {"machine": "p4d.24xlarge"}, "auto"),
        (None, {"image": sky.Image(pip_extra_index_url="https://index.example/simple")}, None),
        ("cpu", {"image": sky.Image(pip_extra_index_url="https://index.example/simple")}, "cpu"),
        ("pypi", {}, None),
        ("cu128", {"accelerator": "A100"}, "cu128"),
        ("rocm6.3", {}, "rocm6.3"),
    ],
)
def test_nodes_get_builds_for_what_they_are(wheels: str | None, settings: dict[str, Any], env: str | None) -> None:
    supplies = torch(wheels=wheels).supplies(spec(**settings))
    assert dict(supplies.env) == ({} if env is None else {"UV_TORCH_BACKEND": env})
    assert supplies.private_network
    assert [each.partition(">")[0] for each in supplies.pip] == ["torch", "numpy"]
    assert "torch" in supplies.preload


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"asks for none: give it accelerator=.*backend='gloo'"),
        ({"accelerator": "A100:2", "concurrency": 4}, r"each of the 4 .* which has 2: use concurrency=2"),
        ({"accelerator": "trainium2"}, r"made by AWS|made by Amazon"),
    ],
)
def test_nccl_for_a_pool_without_gpus_for_it_is_refused_before_anything_is_bought(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(sky.ConfigurationError, match=said):
        torch(backend="nccl").supplies(spec(**settings))
    torch(backend="gloo").supplies(spec(**settings))


def test_nccl_is_let_be_where_there_may_be_enough_gpus() -> None:
    for settings in ({"accelerator": "A100:4", "concurrency": 4}, {"machine": "p4d.24xlarge", "concurrency": 8}):
        torch(backend="nccl").supplies(spec(**settings))


# ---- on the node -----------------------------------------------------------------------------------------------------


def places(*nodes: tuple[int, int]) -> list[Place]:
    """The places of a group, by ranks and GPUs of each node."""
    return [
        Place(node, ranks, gpus, rank if ranks <= gpus else None)
        for node, (ranks, gpus) in enumerate(nodes)
        for rank in range(ranks)
    ]


sizes = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=5)


@given(sizes, st.sampled_from([None, "nccl", "gloo"]))
def test_a_backend_is_chosen_that_every_rank_can_use_or_none(nodes: list[tuple[int, int]], asked: str | None) -> None:
    enough = [ranks <= gpus for ranks, gpus in nodes]
    if asked == "gloo" or (asked is None and not any(enough)):
        assert agreed_backend(asked, places(*nodes)) == "gloo"
    elif all(enough):
        assert agreed_backend(asked, places(*nodes)) == "nccl"
    else:
        with pytest.raises(sky.ConfigurationError, match=rf"node {enough.index(False)} has .*backend='gloo'"):
            agreed_backend(asked, places(*nodes))


def test_parts_of_gpus_are_left_to_gloo_unless_nccl_is_asked_for() -> None:
    parts = [Place(0, 2, 1, 0, partition=True)] * 2
    assert agreed_backend(None, parts) == "gloo"
    assert agreed_backend("nccl", parts) == "nccl"


def test_a_node_that_was_rented_for_its_gpus_does_not_compute_on_cpus_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def demand(cuda: str | None, *, sees: bool = False) -> None:
        version = SimpleNamespace(cuda=cuda, hip=None)
        cuda_module = SimpleNamespace(is_available=lambda: sees)
        demand_builds(SimpleNamespace(__version__="2.15.0", cuda=cuda_module, version=version))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sky, "instance_info", lambda: SimpleNamespace(accelerators=["A100"]))
    monkeypatch.setattr(_devices, "_has_gpus", lambda: False)
    demand(None)
    monkeypatch.setattr(_devices, "_has_gpus", lambda: True)
    demand("13.2", sees=True)
    with pytest.raises(sky.ConfigurationError, match=r"torch 2\.15\.0 is built for CPUs alone: .*backend='gloo'"):
        demand(None)
    with pytest.raises(sky.ConfigurationError, match=r"for version 13\.2, .*driver.*wheels='cu126'.*backend='gloo'"):
        demand("13.2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    demand(None)


def test_a_place_is_told_to_the_others_as_it_is() -> None:
    place = Place(3, 2, 1, None, partition=False)
    assert Place.unpacked(place.packed()) == place


def test_a_rank_is_told_what_torchs_own_launcher_tells_and_listens_at_the_nodes_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TP_SOCKET_IFNAME", "ib0")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
    members = (
        Member(4, 0, "192.0.2.1", 1000),
        Member(4, 1, "192.0.2.1", 1001),
        Member(6, 0, "127.0.0.1", 1002),
        Member(6, 1, "127.0.0.1", 1003),
    )
    told = variables(Group("call", 3, members, None))
    assert told == {
        "MASTER_ADDR": "192.0.2.1",
        "MASTER_PORT": "1000",
        "WORLD_SIZE": "4",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "NODE_RANK": "1",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "=lo",
        "TP_SOCKET_IFNAME": "ib0",
    }
    assert "GLOO_SOCKET_IFNAME" not in variables(Group("call", 0, members, None)), "nobody here has that address"


class DistBackendError(RuntimeError):
    """Has the name of torch's."""


@pytest.mark.parametrize(
    ("error", "follows"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error: reset by peer"), True),
        (RuntimeError("Connection closed by peer [10.0.0.2]:4711"), True),
        (DistBackendError("NCCL error in: ...: remote process exited or there was a network error"), True),
        (RuntimeError("CUDA out of memory"), False),
        (ConnectionResetError("by a server of the user's"), False),
        (ValueError("gloo/transport"), False),
        (sky.SlotDied("aborted", node=1, slot=0, signal=signal.SIGABRT), True),
        (sky.SlotDied("killed", node=1, slot=0, signal=signal.SIGKILL), False),
    ],
)
def test_an_error_follows_from_another_ranks_if_torch_could_not_reach_it(error: BaseException, follows: bool) -> None:
    assert is_consequence(error) == follows
    wrapped = LookupError("the user's")
    wrapped.__cause__ = error
    assert is_consequence(wrapped) == follows


def test_a_first_rank_that_cannot_be_reached_may_have_failed_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        members = tuple(Member(node, 0, *listener.getsockname()) for node in (0, 1))
    with pytest.raises(ConnectionError) as caught:
        Group("call", 1, members, None).reached()
    assert is_consequence(caught.value)


def made(groups: int) -> Any:
    """What torch has counted."""
    return SimpleNamespace(_world=SimpleNamespace(group_count=groups))


def test_a_process_in_which_a_group_was_left_behind_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, bound in (
        (SimpleNamespace(), ""),  # it is being imported
        (SimpleNamespace(is_initialized=lambda: False), ""),
        (SimpleNamespace(is_initialized=lambda: True), None),
        (SimpleNamespace(is_initialized=lambda: False, distributed_c10d=made(0)), ""),
        (SimpleNamespace(is_initialized=lambda: False, distributed_c10d=made(1)), None),  # half of one
    ):
        monkeypatch.setitem(sys.modules, "torch.distributed", module)
        assert bound_to(2) == bound
    assert vars(torch(lambda: None))["bound_to"] is bound_to


def test_a_node_without_torch_says_how_to_get_it(require: Any) -> None:
    require(find_spec("torch") is None, "a client without torch, whose local nodes would find it", ci=False)

    @torch
    def run() -> None: ...

    with (
        sky.ComputePool(display="quiet", lease=60.0) as pool,
        pytest.raises(ModuleNotFoundError, match=r"plugins=\[sky\.integrations\.torch\(\)\]"),
    ):
        run() >> pool
