"""A network that reads handwritten digits, trained by the devices of all nodes together: JAX over several processes.

python examples/jax_digits.py
python examples/jax_digits.py --provider aws --accelerator T4 --nodes 4
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from _provider import PROVIDERS, parser, start

import skyward as sky


class Trained(NamedTuple):
    """What a process tells of its training: the loss of each epoch's last step, and how well it reads."""

    losses: list[float]
    accuracy: float
    devices: int


@sky.compute
def train(epochs: int, batch: int) -> Trained:
    """Train on three quarters of the digits, as one of the processes; judge by the rest."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, digits = load_digits(return_X_y=True)
    known, unknown, answers, solutions = train_test_split((images / 16).astype("float32"), digits, random_state=0)
    mesh = Mesh(np.array(jax.devices()), ("batch",))  # the devices of all processes
    divided, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), ()))

    def scores(weights: Any, pictures: Any) -> Any:
        first, second = weights
        return jnp.maximum(pictures @ first, 0) @ second

    def loss(weights: Any, pictures: Any, wanted: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(scores(weights, pictures)), wanted[:, None], 1).mean()

    @jax.jit  # type: ignore[untyped-decorator]
    def step(weights: Any, pictures: Any, wanted: Any) -> Any:
        found, slopes = jax.value_and_grad(loss)(weights, pictures, wanted)  # the mean over the pictures of all
        return found, jax.tree.map(lambda weight, slope: weight - 0.5 * slope, weights, slopes)

    random = np.random.default_rng(0)  # the same first weights in every process
    shapes = ((known.shape[1], 64), (64, 10))
    weights = [jax.device_put((random.normal(size=shape) / 8).astype("float32"), everywhere) for shape in shapes]
    part = batch // jax.process_count()
    losses = []
    found = jnp.inf
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(known))
        for begin in range(0, len(known) - batch + 1, batch):
            mine = order[begin : begin + batch][jax.process_index() * part :][:part]
            pictures, wanted = (jax.make_array_from_process_local_data(divided, a[mine]) for a in (known, answers))
            found, weights = step(weights, pictures, wanted)
        losses.append(float(found))
        if jax.process_index() == 0:
            print(f"epoch {epoch + 1}: loss {losses[-1]:.3f}")
    here = [np.asarray(weight.addressable_data(0)) for weight in weights]  # each process has all of them
    read = np.asarray(scores(here, unknown)).argmax(1)
    return Trained(losses, float((read == solutions).mean()), jax.device_count())


def main(arguments: Sequence[str] | None = None) -> Trained:
    """Train on all nodes, and tell how it went."""
    options = parser("Train a network on handwritten digits on the devices of all nodes together, with JAX.")
    options.add_argument("--epochs", type=int, default=5, help="how often all pictures are shown")
    options.add_argument("--batch", type=int, default=96, help="pictures of a step, on all nodes together")
    chosen = options.parse_args(arguments)
    with sky.ComputePool(
        provider=getattr(sky, PROVIDERS[chosen.provider])(),
        accelerator=chosen.accelerator,
        nodes=chosen.nodes,
        image=sky.Image(pip=["scikit-learn"]),
        plugins=[sky.integrations.jax()],
        display=chosen.display,
    ) as pool:
        trained, *others = train(chosen.epochs, chosen.batch) @ pool
    assert all(each == trained for each in others)  # they have trained one network
    print(
        f"{trained.devices} devices: loss {trained.losses[0]:.2f} -> {trained.losses[-1]:.2f}, "
        f"{trained.accuracy:.1%} of new digits are read."
    )
    return trained


if __name__ == "__main__":
    start(main)
