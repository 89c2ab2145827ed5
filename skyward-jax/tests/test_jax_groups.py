"""Processes of one ``jax.distributed`` on two local nodes: what functions find, what is left, how failures end them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import skyward as sky
from skyward_jax import jax

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(image: sky.Image) -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, image=image, display="quiet", lease=60.0) as made:
        yield made


@pytest.fixture
def add() -> sky.ComputeFunction[..., Any]:
    """Adds up the ranks, of which each is one more than jax calls it, then fails on one of them if it is to."""

    @jax
    def add(failing: int | None = None, code: int = 0) -> tuple[float, int, int]:
        import os

        import jax
        import numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        mesh = Mesh(np.array(jax.devices()), ("all",))
        spec = PartitionSpec("all")
        total = jax.jit(
            jax.shard_map(lambda x: jax.lax.psum(x, "all"), mesh=mesh, in_specs=spec, out_specs=PartitionSpec())
        )

        def once() -> float:
            mine = np.ones(1) * (jax.process_index() + 1)
            return float(total(jax.make_array_from_process_local_data(NamedSharding(mesh, spec), mine))[0])

        once()
        if failing == jax.process_index():
            if code:
                os._exit(code)
            raise LookupError("the first cause")
        return once(), jax.process_count(), os.getpid()

    return add


@pytest.fixture
def look() -> sky.ComputeFunction[..., Any]:
    """What a function without a group finds in its slot."""

    @sky.compute
    def look() -> Any:
        import os

        import jax
        import jax.extend.backend
        import psutil

        ports = [each.laddr.port for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN]
        options = {name: jax.config.values[name] for name in sorted(jax.config.values) if "jax_" in name}
        found = (
            jax.distributed.is_initialized(),
            jax.process_count(),
            str(options),
            dict(os.environ),
            ports,
            os.getpid(),
        )
        jax.extend.backend.clear_backends()
        return found

    return look


def test_calls_are_groups_of_their_own_in_the_same_processes_and_leave_nothing_behind(
    pool: sky.ComputePool, add: sky.ComputeFunction[..., Any], look: sky.ComputeFunction[..., Any]
) -> None:
    before = look() @ pool
    processes = [each[-1] for each in before]
    for _ in range(3):
        assert [each[:2] for each in add() @ pool] == [(3.0, 2), (3.0, 2)]
    assert (add() >> pool)[:2] == (1.0, 1)
    after = look() @ pool
    assert [each[-1] for each in after] == processes
    assert after == before
    assert before[0][0] is False


def test_a_failure_is_the_one_that_is_raised_and_the_next_call_is_whole(
    pool: sky.ComputePool, add: sky.ComputeFunction[..., Any]
) -> None:
    with pytest.raises(LookupError, match="the first cause") as caught:
        add(0) @ pool  # which has the coordinator
    assert any("this ended rank 0" in note for note in caught.value.__notes__)
    assert [each[:2] for each in add() @ pool] == [(3.0, 2), (3.0, 2)]


def test_a_function_that_was_written_for_a_launcher_runs_as_it_is(
    pool: sky.ComputePool, add: sky.ComputeFunction[..., Any]
) -> None:
    @jax
    def launched() -> int:
        import jax

        jax.distributed.initialize()
        found: int = jax.process_count()
        jax.distributed.shutdown()
        return found

    assert launched() @ pool == (2, 2)
    assert [each[:2] for each in add() @ pool] == [(3.0, 2), (3.0, 2)]


def test_a_process_that_dies_is_the_cause_also_where_it_was_the_coordinator(
    pool: sky.ComputePool, add: sky.ComputeFunction[..., Any]
) -> None:
    with pytest.raises(sky.SlotDied, match="exit code 7"):
        add(0, 7) @ pool
    assert [each[:2] for each in add() @ pool] == [(3.0, 2), (3.0, 2)]


def test_a_slot_that_used_jax_by_itself_joins_a_group_all_the_same(
    pool: sky.ComputePool, add: sky.ComputeFunction[..., Any]
) -> None:
    @sky.compute
    def alone() -> float:
        import jax.numpy as jnp

        return float(jnp.arange(4.0).sum())

    assert alone() @ pool == (6.0, 6.0)
    assert [each[:2] for each in add() @ pool] == [(3.0, 2), (3.0, 2)]
    assert alone() @ pool == (6.0, 6.0)


def test_a_function_is_its_own_without_a_pool(add: sky.ComputeFunction[..., Any]) -> None:
    @jax
    def here() -> int:
        return os.getpid()

    assert here.local() == os.getpid()


def test_the_slots_of_several_nodes_are_processes_of_one_group(
    image: sky.Image, add: sky.ComputeFunction[..., Any]
) -> None:
    with sky.ComputePool(nodes=2, concurrency=2, image=image, display="quiet", lease=60.0) as pool:
        assert [each[:2] for each in add() @ pool] == [(10.0, 4)] * 4
