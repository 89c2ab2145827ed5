"""The Trainer on two local nodes: it sees the group, and trains as one process does with the same global batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import skyward as sky
from skyward_transformers import transformers

pytestmark = pytest.mark.slow


@pytest.fixture
def train() -> Callable[..., Any]:
    """What is trained: a function without any reference to this module, which the nodes do not have."""

    def train(batch: int = 16) -> dict[str, Any]:
        """Train a tiny model to count: to say what follows in 3 4 5. What this rank has seen, as plain values."""
        import hashlib
        import tempfile

        import torch
        from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

        torch.manual_seed(0)
        rows = (torch.randint(0, 20, (128,))[:, None] + torch.arange(6)) % 20
        data = [{"input_ids": row, "labels": row} for row in rows]
        sizes = {"n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 6, "vocab_size": 20}
        model = GPT2LMHeadModel(GPT2Config(**sizes, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0))
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder,
                per_device_train_batch_size=batch,
                num_train_epochs=4,
                learning_rate=0.01,
                logging_steps=1,
                dataloader_pin_memory=False,
                disable_tqdm=True,
                report_to=[],
                save_strategy="no",
            )
            trainer = Trainer(model, arguments, train_dataset=data)
            trainer.train()
        weights = b"".join(each.detach().numpy().tobytes() for each in model.parameters())
        return {
            "world": (arguments.process_index, arguments.world_size, arguments.device.type),
            "wrapped": type(trainer.model_wrapped).__name__,
            "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
            "weights": hashlib.sha256(weights).hexdigest(),
        }

    return train


def test_the_trainer_sees_the_group_and_leaves_nothing_of_it(pool: sky.ComputePool, train: Callable[..., Any]) -> None:
    @sky.compute
    def look() -> Any:
        import os

        import torch.distributed as dist
        from accelerate import PartialState

        names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS")
        left = [name for name in os.environ if name in names or name.startswith("ACCELERATE_")]
        return PartialState().num_processes, dist.is_initialized(), left

    before = look() @ pool  # which has accelerate remember that there is no group
    assert [each[:2] for each in before] == [(1, False)] * 2

    together = transformers(backend="gloo")(sky.compute(train))
    first, second = together() @ pool
    assert (first["world"], second["world"]) == ((0, 2, "cpu"), (1, 2, "cpu"))
    assert first["wrapped"] == "DistributedDataParallel"
    assert first["weights"] == second["weights"]
    losses = first["losses"]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert look() @ pool == before

    alone = together(batch=32) >> pool
    assert alone["world"] == (0, 1, "cpu")
    assert alone["losses"] == pytest.approx(losses, abs=0.01), "as one process with the same global batch"


def test_a_rank_that_fails_ends_the_others_with_its_own_error(pool: sky.ComputePool) -> None:
    @transformers
    def fail(failing: int) -> int:
        import torch.distributed as dist
        from accelerate import PartialState

        state = PartialState()
        if state.process_index == failing:
            raise LookupError(f"rank {failing}")
        if failing >= 0:
            dist.barrier()
        return int(state.num_processes)

    with pytest.raises(LookupError, match="rank 1"):
        fail(1) @ pool
    assert fail(-1) @ pool == (2, 2)


def test_a_function_that_ends_its_group_itself_keeps_its_result_and_the_next_one_has_a_group(
    pool: sky.ComputePool,
) -> None:
    @transformers
    def ended() -> int:
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        size = int(accelerator.num_processes)
        accelerator.end_training()  # which destroys the process group
        return size

    assert ended() @ pool == (2, 2)
    assert ended() @ pool == (2, 2)
