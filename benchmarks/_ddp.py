"""What `benchmarks.training` runs in a group of torch. It imports neither skyward nor torch until it runs.

As a program, under torchrun, it is a rank that tells when it has come into its process group.
"""

from __future__ import annotations

import os
import time

__all__ = ["train"]


def train(seconds: float) -> tuple[float, float]:
    """Average gradients for so long, in a process group that is there; when it began and ended, by the clock."""
    begun = time.time()
    import torch
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(torch.nn.Linear(64, 10))
    inputs = torch.ones(32, 64)
    while True:
        model(inputs).sum().backward()
        # All ranks decide alike, or the last of them would wait for a gradient that nobody sends.
        left = torch.tensor([seconds - (time.time() - begun)])
        torch.distributed.all_reduce(left, torch.distributed.ReduceOp.MIN)
        if left.item() <= 0:
            return begun, time.time()


if __name__ == "__main__":
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    os.write(1, f"{time.time()}\n".encode())  # in one piece: the other ranks write to the same pipe
    torch.distributed.destroy_process_group()
