"""Keras trains one model on the devices of two local nodes, as one process would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import skyward as sky
from skyward_keras import keras

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(image: sky.Image) -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, image=image, env={"KERAS_BACKEND": "numpy"}, display="quiet", lease=60.0) as made:
        yield made


@pytest.fixture(scope="module")
def train() -> sky.ComputeFunction[..., Any]:
    @keras(backend="jax")
    def train(seed: int | None = 0, epochs: int = 2, batch: int = 96) -> dict[str, Any]:
        """Train on scikit-learn's digits; each step's pictures are divided among the processes."""
        import hashlib
        import os

        import jax
        import keras
        from sklearn.datasets import load_digits

        images, digits = load_digits(return_X_y=True)
        steps, size, rank = len(images) // batch, jax.process_count(), jax.process_index()
        mine = (images / 16)[: steps * batch].astype("float32").reshape(steps, size, -1, 64)[:, rank].reshape(-1, 64)
        answers = digits[: steps * batch].reshape(steps, size, -1)[:, rank].reshape(-1)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(0.5), loss=loss)
        history = model.fit(mine, answers, batch_size=batch // size, epochs=epochs, shuffle=False, verbose=0)
        weights = b"".join(each.tobytes() for each in model.get_weights())
        return {
            "backend": (keras.config.backend(), os.environ["KERAS_BACKEND"]),
            "devices": keras.distribution.distribution().device_mesh.devices.size,
            "loss": history.history["loss"],
            "weights": hashlib.sha256(weights).hexdigest(),
        }

    return train


def test_all_processes_train_one_model_whose_loss_falls_as_in_one_process(
    pool: sky.ComputePool, train: sky.ComputeFunction[..., Any]
) -> None:
    ranks = train() @ pool
    alone = train() >> pool
    assert [rank["devices"] for rank in ranks] == [2, 2]
    assert alone["devices"] == 1
    assert ranks[0] == ranks[1]
    assert ranks[0]["backend"] == ("jax", "jax")
    assert ranks[0]["loss"][-1] < ranks[0]["loss"][0] / 2
    assert ranks[0]["loss"] == pytest.approx(alone["loss"], rel=1e-3)


class Twice(NamedTuple):
    """What two calls whose function seeds nothing have told, and what was left behind each of them."""

    trained: list[tuple[dict[str, Any], ...]]
    left: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def twice(pool: sky.ComputePool, train: sky.ComputeFunction[..., Any]) -> Twice:
    @sky.compute
    def look() -> Any:
        import os
        import random
        import sys

        import numpy as np

        keras = sys.modules.get("keras")  # the pool's variable is for another backend
        state = hash((random.getstate(), np.random.get_state()[1].tobytes()))
        distribution = None if keras is None else keras.distribution.distribution()
        return keras is None, distribution, os.environ["KERAS_BACKEND"], state

    found = Twice([], [])
    for _ in range(2):
        found.trained.append(train(seed=None, epochs=1) @ pool)
        found.left.append(look() @ pool)
    return found


def test_the_first_weights_are_the_same_everywhere_and_others_in_each_call(twice: Twice) -> None:
    first, second = twice.trained
    assert first[0]["weights"] == first[1]["weights"]
    assert second[0]["weights"] == second[1]["weights"]
    assert first[0]["weights"] != second[0]["weights"]


def test_nothing_of_the_group_is_left_in_keras(twice: Twice) -> None:
    before, after = twice.left
    assert after == before
    assert [each[:3] for each in before] == [(False, None, "numpy")] * 2
