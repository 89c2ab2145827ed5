"""Pools whose nodes have torch, and what is trained on them. The client has none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from frameworks import engine as engine
from frameworks import image_for, mark
from frameworks import installed_plugins as installed_plugins

import skyward as sky
from skyward_torch import torch


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark(items, Path(__file__).parent, "torch")


@pytest.fixture(scope="session")
def image() -> sky.Image:
    """Torch of the package index: the index of PyTorch itself cannot be reached from everywhere."""
    return image_for(torch(wheels="pypi"), "scikit-learn")


@pytest.fixture(scope="module")
def pool(image: sky.Image) -> Iterator[sky.ComputePool]:
    with sky.ComputePool(nodes=2, image=image, display="quiet", lease=60.0) as made:
        yield made


@pytest.fixture(scope="session")
def train() -> Callable[..., Any]:
    """What is trained: a function without any reference to this module, which the nodes do not have."""

    def train(epochs: int = 2, batch: int = 96, seed: int = 0) -> dict[str, Any]:
        """Train a small network on scikit-learn's digits; what the group has seen of it, as plain values."""
        import hashlib

        import numpy as np
        import torch
        import torch.distributed as dist
        from sklearn.datasets import load_digits
        from torch.nn.parallel import DistributedDataParallel
        from torch.utils.data import DataLoader, TensorDataset

        def digest(tensors: Any) -> str:
            return hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in tensors)).hexdigest()

        images, digits = load_digits(return_X_y=True)
        data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits))
        torch.manual_seed(seed)
        layers = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
        model = DistributedDataParallel(layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
        sampler = sky.DistributedSampler(data, seed=seed, drop_last=True)
        losses, gradients, seen = [], [], []
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            seen.append(list(sampler))
            loader = DataLoader(data, batch // dist.get_world_size(), sampler=sampler, drop_last=True)
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(inputs), targets)
                loss.backward()
                gradients.append(digest(each.grad for each in model.parameters()))
                optimizer.step()
                mean = loss.detach().clone()
                dist.all_reduce(mean)
                losses.append(float(mean) / dist.get_world_size())
        return {
            "backend": dist.get_backend(),
            "gradients": gradients,
            "losses": losses,
            "seen": np.array(seen).tolist(),
            "size": len(data),
            "weights": digest(model.parameters()),
        }

    return train
