"""A network that reads handwritten digits, trained by all nodes together: PyTorch's DistributedDataParallel.

python examples/torch_digits.py
python examples/torch_digits.py --provider aws --accelerator T4 --nodes 4 --picture losses.png
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from _provider import PROVIDERS, parser, start

import skyward as sky


class Trained(NamedTuple):
    """What a rank tells of its training: the loss of each step, averaged over all ranks, and how well it reads."""

    losses: list[float]
    accuracy: float
    seconds: float
    device: str


@sky.compute
def train(epochs: int, batch: int) -> Trained:
    """Train on three quarters of the digits, as one of the ranks; judge by the rest. ``batch`` is that of all ranks."""
    import torch
    import torch.distributed as dist
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, TensorDataset

    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")  # each rank's GPU is chosen already
    images, digits = load_digits(return_X_y=True)
    known, unknown, answers, solutions = train_test_split(images / 16, digits, random_state=0)
    data = TensorDataset(torch.tensor(known, dtype=torch.float32), torch.tensor(answers))

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)).to(device)
    model = DistributedDataParallel(layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    sampler = sky.DistributedSampler(data, drop_last=True)
    loader = DataLoader(data, batch // dist.get_world_size(), sampler=sampler, drop_last=True)
    losses = []
    begun = time.perf_counter()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs.to(device)), targets.to(device))
            loss.backward()
            optimizer.step()
            mean = loss.detach() / dist.get_world_size()
            dist.all_reduce(mean)
            losses.append(float(mean))
        if dist.get_rank() == 0:
            print(f"epoch {epoch + 1}: loss {losses[-1]:.3f}")
    taken = time.perf_counter() - begun
    with torch.no_grad():
        read = model(torch.tensor(unknown, dtype=torch.float32).to(device)).argmax(1).cpu()
    return Trained(losses, float((read == torch.tensor(solutions)).float().mean()), taken, device.type)


def main(arguments: Sequence[str] | None = None) -> tuple[Trained, Trained]:
    """Train on all nodes and on one, tell how it went, and draw the losses."""
    options = parser("Train a network on handwritten digits on all nodes together.")
    options.add_argument("--epochs", type=int, default=5, help="how often all pictures are shown")
    options.add_argument("--batch", type=int, default=96, help="pictures of a step, on all nodes together")
    options.add_argument(
        "--wheels", help="which builds of torch: pypi, cpu, cu128, ...; chosen for the nodes if left out"
    )
    options.add_argument("--picture", type=Path, default=Path("torch_digits.png"), help="where the losses are drawn")
    chosen = options.parse_args(arguments)
    # Where it is missing, that is said before the nodes are paid for, and not after the training.
    import matplotlib.figure  # noqa: F401

    begun = time.perf_counter()
    with sky.ComputePool(
        provider=getattr(sky, PROVIDERS[chosen.provider])(),
        accelerator=chosen.accelerator,
        nodes=chosen.nodes,
        image=sky.Image(pip=["scikit-learn"]),
        plugins=[sky.integrations.torch(wheels=chosen.wheels)],
        display=chosen.display,
    ) as pool:
        ready = time.perf_counter()
        ranks = train(chosen.epochs, chosen.batch) @ pool
        together = ranks[0]
        alone = train(chosen.epochs, chosen.batch) >> pool

    print(f"{chosen.nodes} nodes were there after {ready - begun:.1f} s, with torch.")
    for name, trained in ((f"{chosen.nodes} nodes", together), ("one node", alone)):
        print(
            f"{name} ({trained.device}): {len(trained.losses)} steps in {trained.seconds:.2f} s, "
            f"loss {trained.losses[0]:.2f} -> {trained.losses[-1]:.2f}, {trained.accuracy:.1%} of new digits are read."
        )
    apart = max(abs(one - other) for one, other in zip(together.losses, alone.losses, strict=True))
    print(f"The two curves are {apart:.5f} apart at most; they are drawn in {chosen.picture}.")
    draw({f"{chosen.nodes} nodes": together.losses, "one node": alone.losses}, chosen.picture)
    return together, alone


def draw(curves: dict[str, list[float]], path: Path) -> None:
    """The loss of each step; the second curve is dashed, since it should lie on the first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever is set up here
    axes = figure.add_subplot()
    for (name, losses), style in zip(curves.items(), ("-", "--"), strict=True):
        axes.plot(range(1, len(losses) + 1), losses, style, label=name, linewidth=2)
    axes.set(xlabel="step", ylabel="loss, mean of all ranks", ylim=(0, None))
    axes.set_title("Handwritten digits: the same training on several nodes and on one")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    start(main)
