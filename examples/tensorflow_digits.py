"""A network that reads handwritten digits, trained by all nodes together: TensorFlow's MultiWorkerMirroredStrategy.

python examples/tensorflow_digits.py
python examples/tensorflow_digits.py --provider aws --accelerator T4 --nodes 4
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from _provider import PROVIDERS, parser, start

import skyward as sky


class Trained(NamedTuple):
    """What a worker tells of its training: the loss of each step, over the batch of all, and how well it reads."""

    losses: list[float]
    accuracy: float
    seconds: float
    workers: int


@sky.integrations.tensorflow
@sky.compute
def train(epochs: int, batch: int) -> Trained:
    """Train on three quarters of the digits, as a worker; judge by the rest. ``batch`` is that of all workers."""
    import numpy as np
    import tensorflow as tf
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # first of all: TensorFlow joins the others here
    workers, worker = strategy.num_replicas_in_sync, strategy.cluster_resolver.task_id
    images, digits = load_digits(return_X_y=True)
    known, unknown, answers, solutions = train_test_split((images / 16).astype("float32"), digits, random_state=0)

    order = np.random.default_rng(0)  # the same for all: of each batch, everybody takes another part
    with strategy.scope():
        weights = [tf.Variable(order.normal(0, 0.1, shape).astype("float32")) for shape in ((64, 64), (64, 10))]

    def read(inputs: Any) -> Any:
        return tf.nn.relu(inputs @ weights[0]) @ weights[1]

    @tf.function  # type: ignore[untyped-decorator]
    def step(inputs: Any, targets: Any) -> Any:
        def replica(inputs: Any, targets: Any) -> Any:
            with tf.GradientTape() as tape:
                each = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, read(inputs))
                loss = tf.reduce_sum(each) / batch
            gradients = tape.gradient(loss, weights)
            gradients = tf.distribute.get_replica_context().all_reduce("sum", gradients)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.assign_sub(0.5 * gradient)
            return loss

        return strategy.reduce("SUM", strategy.run(replica, args=(inputs, targets)), axis=None)

    losses = []
    begun = time.perf_counter()
    for epoch in range(epochs):
        shown = order.permutation(len(known))
        for first in range(0, len(shown) - batch + 1, batch):
            mine = shown[first : first + batch][worker::workers]
            losses.append(float(step(tf.constant(known[mine]), tf.constant(answers[mine]))))
        if worker == 0:
            print(f"epoch {epoch + 1}: loss {losses[-1]:.3f}")
    taken = time.perf_counter() - begun
    right = tf.argmax(read(tf.constant(unknown)), 1).numpy() == solutions
    return Trained(losses, float(right.mean()), taken, workers)


def main(arguments: Sequence[str] | None = None) -> tuple[Trained, Trained]:
    """Train on all nodes and on one, and tell how it went."""
    options = parser("Train a network on handwritten digits on all nodes together.")
    options.add_argument("--epochs", type=int, default=5, help="how often all pictures are shown")
    options.add_argument("--batch", type=int, default=96, help="pictures of a step, on all nodes together")
    chosen = options.parse_args(arguments)

    with sky.ComputePool(
        provider=getattr(sky, PROVIDERS[chosen.provider])(),
        accelerator=chosen.accelerator,
        nodes=chosen.nodes,
        image=sky.Image(pip=["scikit-learn"]),
        plugins=[sky.integrations.tensorflow()],
        display=chosen.display,
    ) as pool:
        together = (train(chosen.epochs, chosen.batch) @ pool)[0]
        alone = train(chosen.epochs, chosen.batch) >> pool

    for trained in (together, alone):
        print(
            f"{trained.workers} workers: {len(trained.losses)} steps in {trained.seconds:.2f} s, "
            f"loss {trained.losses[0]:.2f} -> {trained.losses[-1]:.2f}, {trained.accuracy:.1%} of new digits are read."
        )
    apart = max(abs(one - other) for one, other in zip(together.losses, alone.losses, strict=True))
    print(f"The two curves are {apart:.5f} apart at most.")
    return together, alone


if __name__ == "__main__":
    start(main)
