"""A network that reads handwritten digits, trained by all nodes together: Keras on JAX.

python examples/keras_digits.py
python examples/keras_digits.py --provider aws --accelerator T4 --nodes 4
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from _provider import PROVIDERS, parser, start

import skyward as sky


class Trained(NamedTuple):
    """What a process tells of its training: the loss of each epoch, and how well the network reads."""

    losses: list[float]
    accuracy: float


@sky.compute
def train(epochs: int, batch: int) -> Trained:
    """Train on this process's part of three quarters of the digits; judge by the rest."""
    import jax
    import keras
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, digits = load_digits(return_X_y=True)
    known, unknown, answers, solutions = train_test_split((images / 16).astype("float32"), digits, random_state=0)
    whole = len(known) // batch * batch  # all processes make the same steps
    pictures, wanted = sky.shard(known[:whole], answers[:whole])

    model = keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.005), loss=loss)
    model.fit(pictures, wanted, batch_size=batch // jax.process_count(), epochs=epochs, verbose=0)
    losses = [float(each) for each in model.history.history["loss"]]

    keras.distribution.set_distribution(None)  # each process reads the new digits by itself
    alone = keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)])
    alone.build(unknown.shape)
    alone.set_weights(model.get_weights())
    read = alone.predict(unknown, verbose=0).argmax(1)
    return Trained(losses, float((read == solutions).mean()))


def main(arguments: Sequence[str] | None = None) -> Trained:
    """Train on all nodes, and tell how it went."""
    options = parser("Train a network on handwritten digits on all nodes together, with Keras on JAX.")
    options.add_argument("--epochs", type=int, default=5, help="how often all pictures are shown")
    options.add_argument("--batch", type=int, default=96, help="pictures of a step, on all nodes together")
    chosen = options.parse_args(arguments)
    with sky.ComputePool(
        provider=getattr(sky, PROVIDERS[chosen.provider])(),
        accelerator=chosen.accelerator,
        nodes=chosen.nodes,
        image=sky.Image(pip=["scikit-learn"]),
        plugins=[sky.integrations.keras(backend="jax")],
        display=chosen.display,
    ) as pool:
        trained, *others = train(chosen.epochs, chosen.batch) @ pool
    assert all(each == trained for each in others)  # they have trained one network
    print(
        f"{chosen.nodes} nodes: loss {trained.losses[0]:.2f} -> {trained.losses[-1]:.2f}, "
        f"{trained.accuracy:.1%} of new digits are read."
    )
    return trained


if __name__ == "__main__":
    start(main)
