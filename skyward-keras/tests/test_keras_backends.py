"""Keras' models are trained in the groups of torch and of TensorFlow, on two local nodes."""

from __future__ import annotations

from typing import Any

import pytest
from frameworks import image_for, lacks

import skyward as sky
from skyward_keras import keras

pytestmark = pytest.mark.slow


def test_a_model_is_a_module_that_torch_trains_on_all_ranks() -> None:
    @keras(backend="torch")
    def train(steps: int) -> dict[str, Any]:
        import hashlib

        import keras
        import numpy as np
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel

        rank, size = dist.get_rank(), dist.get_world_size()
        random = np.random.default_rng(0)
        inputs = random.normal(size=(64, 4)).astype("float32")
        wanted = inputs @ random.normal(size=(4, 1)).astype("float32")
        keras.utils.set_random_seed(rank)  # other first weights in each, of which rank 0's are to be taken
        layers = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model = DistributedDataParallel(layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = ((model(torch.tensor(inputs[rank::size])) - torch.tensor(wanted[rank::size])) ** 2).mean()
            loss.backward()
            optimizer.step()
            mean = loss.detach().clone()
            dist.all_reduce(mean)
            losses.append(float(mean) / size)
        weights = b"".join(each.tobytes() for each in layers.get_weights())
        return {
            "backend": keras.config.backend(),
            "size": size,
            "losses": losses,
            "weights": hashlib.sha256(weights).hexdigest(),
        }

    image = image_for(keras(backend="torch"))
    with sky.ComputePool(nodes=2, image=image, display="quiet", lease=60.0) as pool:
        ranks = train(10) @ pool
        alone = train(10) >> pool
    assert ranks[0] == ranks[1]
    assert (ranks[0]["backend"], ranks[0]["size"]) == ("torch", 2)
    assert ranks[0]["losses"] == pytest.approx(alone["losses"], rel=1e-3)
    assert ranks[0]["losses"][-1] < ranks[0]["losses"][0] / 2


@pytest.mark.skipif(bool(lacks("tensorflow")), reason=f"this test needs {lacks('tensorflow')}")
def test_a_model_is_trained_by_a_strategy_of_tensorflow_on_all_workers() -> None:
    @keras(backend="tensorflow")
    def train(steps: int) -> dict[str, Any]:
        import hashlib

        import keras
        import numpy as np
        import tensorflow as tf

        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        rank, size = strategy.cluster_resolver.task_id, strategy.num_replicas_in_sync
        random = np.random.default_rng(0)
        inputs = random.normal(size=(64, 4)).astype("float32")
        wanted = inputs @ random.normal(size=(4, 1)).astype("float32")
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        variables = [each.value for each in model.trainable_variables]

        def replica(inputs: Any, wanted: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum((model(inputs) - wanted) ** 2) / 64
            gradients = tape.gradient(loss, variables)
            gradients = tf.distribute.get_replica_context().all_reduce("sum", gradients)
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.assign_sub(0.2 * gradient)
            return loss

        mine = tf.constant(inputs[rank::size]), tf.constant(wanted[rank::size])
        step = tf.function(lambda: strategy.reduce("SUM", strategy.run(replica, args=mine), axis=None))
        losses = [float(step()) for _ in range(steps)]
        weights = b"".join(each.tobytes() for each in model.get_weights())
        return {
            "backend": keras.config.backend(),
            "size": size,
            "losses": losses,
            "weights": hashlib.sha256(weights).hexdigest(),
        }

    image = image_for(sky.integrations.tensorflow, "scikit-learn")  # as in its own tests, and it brings Keras along
    with sky.ComputePool(nodes=2, image=image, display="quiet", lease=60.0) as pool:
        ranks = train(10) @ pool
    assert ranks[0] == ranks[1]
    assert (ranks[0]["backend"], ranks[0]["size"]) == ("tensorflow", 2)
    assert ranks[0]["losses"][-1] < ranks[0]["losses"][0] / 2
