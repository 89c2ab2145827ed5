"""What a checker knows of a node's part of the data. Never run: see test_typing.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

from skyward._instance import current_accelerator, instance_info
from skyward._sampler import DistributedSampler
from skyward._shard import shard
from skyward.model.cluster import InstanceInfo


def parts(numbers: list[int], names: tuple[str, ...], weights: list[float]) -> None:
    assert_type(shard(numbers), list[int])
    assert_type(shard(names, shuffle=True, seed=1), tuple[str, ...])
    assert_type(shard(range(9)), range)
    assert_type(shard(range(9), shuffle=True), range | list[int])
    assert_type(shard(numbers, names), tuple[list[int], tuple[str, ...]])
    assert_type(shard(numbers, names, weights), tuple[list[int], tuple[str, ...], list[float]])


def sampled(numbers: list[int]) -> None:
    sampler = DistributedSampler(numbers, shuffle=True)
    assert_type(iter(sampler), Iterator[int])
    assert_type(len(sampler), int)


def place() -> None:
    assert_type(instance_info(), InstanceInfo)
    assert_type(instance_info().is_head, bool)
    assert_type(current_accelerator(), str | None)
