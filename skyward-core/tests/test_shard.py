"""``shard`` and ``DistributedSampler``: every item on exactly one node, aligned, and equal everywhere."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._sampler import DistributedSampler
from skyward._shard import permutation, shard
from skyward.errors import ConfigurationError
from skyward.worker import context

SIZES = st.integers(0, 40)
NODES = st.integers(1, 9)
SEEDS = st.integers(-(2**70), 2**70) | st.none()


def on_each_node[T](nodes: int, task: Callable[[], T]) -> list[T]:
    results: list[T] = []
    try:
        for node in range(nodes):
            context.set_current(context.ClusterContext(node=node, total_nodes=nodes))
            results.append(task())
    finally:
        context.set_current(None)
    return results


class Tensor:
    """What of a torch tensor matters here: a shape, a dtype, slices, and an array of numbers as an index."""

    dtype = "int64"

    def __init__(self, items: list[int]) -> None:
        self.items = items
        self.shape = (len(items),)

    def __getitem__(self, index: Any) -> Tensor:
        if isinstance(index, slice):
            return Tensor(self.items[index])
        assert len(index) > 0
        return Tensor([self.items[int(at)] for at in index])

    def index_select(self, dim: int, index: Any) -> Tensor:
        raise AssertionError("needs a tensor of numbers, which only torch can make")

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)


MAKERS: dict[str, Callable[[int], Any]] = {
    "list": lambda n: list(range(n)),
    "tuple": lambda n: tuple(range(n)),
    "range": range,
    "numpy": np.arange,
    "series": lambda n: pd.Series(range(n), index=[f"row{at}" for at in range(n)], dtype="int64"),
    "tensor": lambda n: Tensor(list(range(n))),
}


@pytest.mark.parametrize("kind", MAKERS)
@given(size=SIZES, nodes=NODES, shuffle=st.booleans(), seed=SEEDS)
def test_every_item_falls_to_exactly_one_node_in_parts_of_nearly_equal_size(
    kind: str, size: int, nodes: int, shuffle: bool, seed: int | None
) -> None:
    whole = MAKERS[kind](size)
    parts = on_each_node(nodes, lambda: shard(whole, shuffle=shuffle, seed=seed))
    items = [int(item) for part in parts for item in part]
    assert sorted(items) == list(range(size))
    assert shuffle or items == list(range(size))
    sizes = [len(list(part)) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)
    expected = list if kind == "range" and shuffle else type(whole)
    assert all(type(part) is expected for part in parts)


@given(size=SIZES, nodes=NODES, shuffle=st.booleans(), seed=SEEDS)
def test_several_arrays_of_different_kinds_stay_aligned(size: int, nodes: int, shuffle: bool, seed: int | None) -> None:
    frame = pd.DataFrame({"x": range(size), "y": [str(at) for at in range(size)]})
    matrix = np.arange(2 * size).reshape(size, 2)

    def task() -> tuple[Any, ...]:
        return shard(list(range(size)), tuple(range(size)), matrix, frame, shuffle=shuffle, seed=seed)

    for numbers, same, rows, table in on_each_node(nodes, task):
        assert isinstance(table, pd.DataFrame)
        assert tuple(numbers) == same == tuple(table["x"]) == tuple(table.index)
        assert rows.tolist() == [[2 * at, 2 * at + 1] for at in numbers]
        assert rows.dtype == matrix.dtype
        assert rows.shape == (len(numbers), 2)


@given(length=st.integers(0, 200), seed=SEEDS)
def test_a_permutation_holds_every_number_once_and_depends_on_the_seed_alone(length: int, seed: int | None) -> None:
    order = permutation(length, seed or 0)
    assert sorted(order) == list(range(length))
    assert order == permutation(length, seed or 0)


def test_the_order_of_a_seed_is_the_same_in_every_version_of_python() -> None:
    assert permutation(10, 0) == [9, 4, 0, 5, 2, 7, 1, 3, 6, 8]
    assert permutation(10, 42) == [9, 7, 8, 5, 3, 4, 1, 2, 0, 6]


def test_orders_of_different_seeds_differ_and_are_even() -> None:
    first = [permutation(4, seed)[0] for seed in range(400)]
    assert all(70 <= first.count(value) <= 130 for value in range(4))


def test_without_a_seed_the_shuffle_is_that_of_seed_0() -> None:
    assert shard(list(range(10)), shuffle=True) == shard(list(range(10)), shuffle=True, seed=0) == permutation(10, 0)


def test_outside_a_pool_the_part_is_the_whole() -> None:
    assert shard([1, 2, 3]) == [1, 2, 3]
    assert shard([1, 2], (3, 4)) == ([1, 2], (3, 4))
    assert shard(range(5)) == range(5)


def test_the_first_nodes_have_the_first_blocks_and_the_odd_items() -> None:
    assert on_each_node(3, lambda: shard(range(5))) == [range(2), range(2, 4), range(4, 5)]


def test_with_fewer_items_than_nodes_some_parts_are_empty() -> None:
    assert on_each_node(4, lambda: shard(["a", "b"])) == [["a"], ["b"], [], []]
    shuffled = on_each_node(4, lambda: shard(np.array([1.5, 2.5]), shuffle=True))
    assert [part.dtype for part in shuffled] == [np.dtype(float)] * 4
    assert sorted(len(part) for part in shuffled) == [0, 0, 1, 1]


def test_a_seed_of_numpy_is_a_whole_number_too() -> None:
    seven: Any = np.int64(7)
    assert shard([1, 2, 3, 4], shuffle=True, seed=seven) == shard([1, 2, 3, 4], shuffle=True, seed=7)


def test_a_seed_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"seed=1\.5 is not a whole number"):
        shard([1], shuffle=True, seed=1.5)  # type: ignore[call-overload]


def test_a_tensor_is_picked_from_by_a_list_where_numpy_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "numpy")
    part = shard(Tensor([5, 6, 7]), shuffle=True, seed=1)
    assert isinstance(part, Tensor)
    assert sorted(part.items) == [5, 6, 7]


class Dataset:
    """Has a length and items, but no slices: nothing that could be divided keeping its type."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: int) -> int:
        return at


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ("text", "is a str, which shard.. cannot divide: pass a list"),
        (b"bytes", "is a bytes"),
        ({"a": [1]}, r"is a dict.*shard\(x\['a'\], x\['b'\]\)"),
        ({1, 2}, r"is a set.*pass sorted\(\.\.\.\) of it"),
        (frozenset(), r"is a frozenset.*pass sorted"),
        (Dataset(), r"is a Dataset.*shard\(range\(len\(x\)\)\).*DistributedSampler"),
        (iter([1]), r"is a list_iterator.*pass list\(\.\.\.\) of it"),
        (None, "is a NoneType.*pass a list, a tuple"),
        (5, "is a int.*pass a list, a tuple"),
        (np.float64(3), "without dimensions"),
        (np.array(3), "without dimensions"),
    ],
)
def test_what_has_no_order_or_no_parts_is_refused_with_the_remedy(thing: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"the argument of shard.*{message}"):
        shard(thing)
    with pytest.raises(TypeError, match=f"argument 2 of shard.*{message}"):
        shard([1], thing)


def test_arrays_of_unequal_length_are_refused_with_their_lengths() -> None:
    with pytest.raises(ConfigurationError, match=r"these have 3, 2, 3 items"):
        shard([1, 2, 3], (1, 2), range(3))


def test_nothing_to_divide_is_refused() -> None:
    with pytest.raises(TypeError, match="at least one array"):
        shard()  # type: ignore[call-overload]


# ---- DistributedSampler --------------------------------------------------------------------------------------------


def samplers(size: int, nodes: int, **options: Any) -> list[DistributedSampler]:
    return on_each_node(nodes, lambda: DistributedSampler(range(size), **options))


@given(size=SIZES, nodes=NODES, shuffle=st.booleans(), epoch=st.integers(0, 5))
def test_filled_up_every_replica_has_equally_many_and_every_index_comes(
    size: int, nodes: int, shuffle: bool, epoch: int
) -> None:
    replicas = samplers(size, nodes, shuffle=shuffle, seed=3)
    for replica in replicas:
        replica.set_epoch(epoch)
    drawn = [list(replica) for replica in replicas]
    assert {len(part) for part in drawn} == {len(replica) for replica in replicas} == {math.ceil(size / nodes)}
    order = permutation(size, 3 + epoch) if shuffle else list(range(size))
    dealt = [part[step] for step in range(len(drawn[0])) for part in drawn]
    assert dealt == (order * (nodes + 1))[: len(dealt)]
    assert set(dealt) == set(range(size))


@given(size=SIZES, nodes=NODES, shuffle=st.booleans())
def test_cut_every_replica_has_equally_many_and_no_index_comes_twice(size: int, nodes: int, shuffle: bool) -> None:
    drawn = [list(replica) for replica in samplers(size, nodes, shuffle=shuffle, drop_last=True)]
    assert {len(part) for part in drawn} == {size // nodes}
    dealt = [index for part in drawn for index in part]
    assert len(dealt) == len(set(dealt)) == size - size % nodes


def test_without_shuffling_the_indices_are_dealt_in_turn_and_filled_up_from_the_start() -> None:
    assert [list(replica) for replica in samplers(5, 2, shuffle=False)] == [[0, 2, 4], [1, 3, 0]]
    assert [list(replica) for replica in samplers(1, 3, shuffle=False)] == [[0], [0], [0]]


def test_an_epoch_has_an_order_of_its_own_that_comes_again() -> None:
    (sampler,) = samplers(50, 1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_seed_and_epoch_add_up_as_in_torch() -> None:
    one, two = DistributedSampler(range(9), seed=4), DistributedSampler(range(9), seed=5)
    one.set_epoch(1)
    assert list(one) == list(two)


def test_replicas_and_rank_can_be_given() -> None:
    sampler = DistributedSampler(range(6), 3, 1, shuffle=False)
    assert list(sampler) == [1, 4]
    assert (len(sampler), sampler.num_samples, sampler.total_size) == (2, 2, 6)


def test_outside_a_pool_one_replica_has_everything() -> None:
    assert list(DistributedSampler(["a", "b"], shuffle=False)) == [0, 1]


@pytest.mark.parametrize(("replicas", "rank"), [(2, 2), (2, -1), (None, 1)])
def test_a_rank_that_is_no_replicas_is_refused(replicas: int | None, rank: int) -> None:
    with pytest.raises(ConfigurationError, match=f"rank={rank} is none of"):
        DistributedSampler(range(3), num_replicas=replicas, rank=rank)


def test_no_replicas_at_all_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="num_replicas=0"):
        DistributedSampler(range(3), num_replicas=0)


def test_a_dataset_without_a_length_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        TypeError, match=r"list_iterator has none: divide what it reads, for instance its files, by shard"
    ):
        DistributedSampler(iter([1]))  # type: ignore[arg-type]


def test_it_survives_the_pickling_of_a_data_loader() -> None:
    sampler = DistributedSampler(range(7), 2, 1)
    assert list(pickle.loads(pickle.dumps(sampler))) == list(sampler)
