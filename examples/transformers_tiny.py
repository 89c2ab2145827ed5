"""A tiny language model that is made here, trained by all nodes together: Hugging Face's Trainer.

python examples/transformers_tiny.py
python examples/transformers_tiny.py --provider aws --accelerator T4 --nodes 4 --epochs 20
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from _provider import PROVIDERS, parser, start

import skyward as sky


class Trained(NamedTuple):
    """What a rank tells of its training: the loss of each step, and of how many ranks it was."""

    losses: list[float]
    ranks: int
    device: str


@sky.compute
def train(epochs: int, batch: int) -> Trained:
    """Learn to count: to say what follows in 3 4 5 6 ... ``batch`` is that of all ranks."""
    import tempfile

    import torch
    import torch.distributed as dist
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    torch.manual_seed(0)
    begins = torch.randint(0, 50, (256,))
    rows = (begins[:, None] + torch.arange(12)) % 50
    data = [{"input_ids": row, "labels": row} for row in rows]
    sizes = GPT2Config(
        vocab_size=50, n_positions=12, n_embd=32, n_layer=1, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=batch // dist.get_world_size(),
            num_train_epochs=epochs,
            learning_rate=0.01,
            logging_steps=1,
            disable_tqdm=True,
            report_to=[],
            save_strategy="no",
        )
        trainer = Trainer(GPT2LMHeadModel(sizes), arguments, train_dataset=data)
        trainer.train()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return Trained(losses, arguments.world_size, arguments.device.type)


def main(arguments: Sequence[str] | None = None) -> tuple[Trained, Trained]:
    """Train on all nodes and on one, and tell how it went."""
    options = parser("Train a tiny language model on all nodes together.")
    options.add_argument("--epochs", type=int, default=8, help="how often all rows are shown")
    options.add_argument("--batch", type=int, default=32, help="rows of a step, on all nodes together")
    options.add_argument(
        "--wheels", help="which builds of torch: pypi, cpu, cu128, ...; chosen for the nodes if left out"
    )
    chosen = options.parse_args(arguments)

    with sky.ComputePool(
        provider=getattr(sky, PROVIDERS[chosen.provider])(),
        accelerator=chosen.accelerator,
        nodes=chosen.nodes,
        plugins=[sky.integrations.transformers(wheels=chosen.wheels)],
        display=chosen.display,
    ) as pool:
        together = (train(chosen.epochs, chosen.batch) @ pool)[0]
        alone = train(chosen.epochs, chosen.batch) >> pool

    for trained in (together, alone):
        print(
            f"{trained.ranks} ranks ({trained.device}): {len(trained.losses)} steps, "
            f"loss {trained.losses[0]:.2f} -> {trained.losses[-1]:.2f}."
        )
    return together, alone


if __name__ == "__main__":
    start(main)
