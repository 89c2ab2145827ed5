"""Clusters of TensorFlow on local nodes: what a function finds, training, and how failures end them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import skyward as sky
from skyward_tensorflow import tensorflow

pytestmark = pytest.mark.slow


def variables() -> sky.ComputeFunction[[], Any]:
    """What a function without a cluster finds in its slot."""

    @sky.compute
    def look() -> Any:
        import os

        return "TF_CONFIG" in os.environ, "TF_NUM_INTRAOP_THREADS" in os.environ

    return look


def test_workers_train_together_as_one_process_would_and_meet_again(
    pool: sky.ComputePool, train: Callable[..., Any]
) -> None:
    together = tensorflow(sky.compute(train))
    first = together() @ pool
    assert [(each["rank"], each["workers"]) for each in first] == [(0, 2), (1, 2)]
    losses = first[0]["losses"]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert first[1]["losses"] == losses
    assert first[1]["weights"] == first[0]["weights"]
    assert variables()() @ pool == ((False, False),) * 2

    second = together() @ pool
    assert [each["pid"] for each in second] == [each["pid"] for each in first], "the cluster is the same"
    assert second[0]["losses"] == pytest.approx(losses, abs=1e-4)

    alone = together() >> pool
    assert alone["workers"] == 1
    assert alone["losses"] == pytest.approx(losses, abs=1e-3), "as one process with the same global batch"


def test_a_worker_that_fails_ends_the_others_and_the_next_call_has_new_ones(pool: sky.ComputePool) -> None:
    @tensorflow
    def add(failing: int) -> Any:
        import json
        import os
        import socket

        import tensorflow as tf

        config = json.loads(os.environ["TF_CONFIG"])
        task = config["task"]["index"]
        with socket.socket() as stranger:
            try:
                stranger.bind(("127.0.0.1", int(config["cluster"]["worker"][task].rpartition(":")[2])))
            except OSError:
                taken = True
            else:
                taken = False
        strategy = tf.distribute.MultiWorkerMirroredStrategy()

        @tf.function  # type: ignore[untyped-decorator]
        def total(value: Any) -> Any:
            def replica(value: Any) -> Any:
                return tf.distribute.get_replica_context().all_reduce("sum", value + 0.0)  # made in the replica

            return strategy.run(replica, args=(value,))

        (found,) = total(tf.constant([task + 1.0])).numpy().tolist()
        if task == failing:
            raise LookupError(f"worker {task}")
        if failing >= 0:
            total(tf.constant([0.0]))  # which waits for the one that fails
        return found, os.getpid(), taken

    first = add(-1) @ pool
    assert [found for found, _, _ in first] == [3.0, 3.0]
    assert all(taken for _, _, taken in first), "nobody else could have had the port before TensorFlow"
    with pytest.raises(LookupError) as caught:
        add(1) @ pool
    assert "this ended rank 1 (node 1, slot 0) of the 2 of add" in caught.value.__notes__[-1]
    again = add(-1) @ pool
    assert [found for found, _, _ in again] == [3.0, 3.0]
    assert not {pid for _, pid, _ in again} & {pid for _, pid, _ in first}


def test_several_workers_share_a_node_and_those_of_a_used_process_get_another(image: sky.Image) -> None:
    def use() -> int:
        import os

        import tensorflow as tf

        tf.reduce_sum(tf.ones(3))
        return os.getpid()

    @tensorflow()
    def add() -> Any:
        import os

        import tensorflow as tf

        strategy = tf.distribute.MultiWorkerMirroredStrategy()

        @tf.function  # type: ignore[untyped-decorator]
        def total() -> Any:
            def replica() -> Any:
                return tf.distribute.get_replica_context().all_reduce("sum", tf.constant([1.0]))

            return strategy.run(replica)

        return float(total().numpy()[0]), os.environ.get("TF_NUM_INTRAOP_THREADS"), os.getpid()

    with sky.ComputePool(nodes=1, concurrency=2, image=image, display="quiet", lease=60.0) as pool:
        used = sky.compute(use)() >> pool
        results = add() @ pool
        assert [found for found, _, _ in results] == [2.0, 2.0]
        share = str(max(1, len(os.sched_getaffinity(0)) // 2))
        assert [threads for _, threads, _ in results] == [share, share]
        assert used not in {pid for _, _, pid in results}
