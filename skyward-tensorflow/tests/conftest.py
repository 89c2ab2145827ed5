"""Pools whose nodes have TensorFlow, and what is trained on them. The client has none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from frameworks import image_for, mark
from frameworks import installed_plugins as installed_plugins

import skyward as sky
from skyward_tensorflow import tensorflow


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark(items, Path(__file__).parent, "tensorflow")


@pytest.fixture(scope="session")
def image() -> sky.Image:
    """One environment for all tests."""
    return image_for(tensorflow, "scikit-learn")


@pytest.fixture(scope="module")
def pool(image: sky.Image) -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, image=image, display="quiet", lease=60.0) as made:
        yield made


@pytest.fixture(scope="session")
def train() -> Callable[..., Any]:
    """What is trained: a function without any reference to this module, which the nodes do not have."""

    def train(epochs: int = 2, batch: int = 96) -> dict[str, Any]:
        """Train a small network on scikit-learn's digits; what this worker has seen of it, as plain values."""
        import hashlib
        import os

        import numpy as np
        import tensorflow as tf
        from sklearn.datasets import load_digits

        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        workers, rank = strategy.num_replicas_in_sync, strategy.cluster_resolver.task_id
        images, digits = load_digits(return_X_y=True)
        images = (images / 16).astype("float32")
        random = np.random.default_rng(0)
        with strategy.scope():
            first = tf.Variable(random.normal(size=(64, 32), scale=0.1).astype("float32"))
            second = tf.Variable(random.normal(size=(32, 10), scale=0.1).astype("float32"))

        @tf.function  # type: ignore[untyped-decorator]
        def step(inputs: Any, targets: Any) -> Any:
            def replica(inputs: Any, targets: Any) -> Any:
                with tf.GradientTape() as tape:
                    logits = tf.nn.relu(inputs @ first) @ second
                    each = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
                    loss = tf.reduce_sum(each) / batch
                gradients = tape.gradient(loss, [first, second])
                gradients = tf.distribute.get_replica_context().all_reduce("sum", gradients)
                for variable, gradient in zip((first, second), gradients, strict=True):
                    variable.assign_sub(0.5 * gradient)
                return loss

            return strategy.reduce("SUM", strategy.run(replica, args=(inputs, targets)), axis=None)

        losses = []
        for _ in range(epochs):
            order = random.permutation(len(images))
            for start in range(0, len(order) - batch + 1, batch):
                mine = order[start : start + batch][rank::workers]
                losses.append(float(step(tf.constant(images[mine]), tf.constant(digits[mine]))))
        weights = hashlib.sha256(first.numpy().tobytes() + second.numpy().tobytes()).hexdigest()
        return {"losses": losses, "pid": os.getpid(), "rank": rank, "weights": weights, "workers": workers}

    return train
