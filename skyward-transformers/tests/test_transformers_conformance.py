"""The integration keeps the rules of integrations, on nodes that have transformers."""

from __future__ import annotations

import pickle

import pytest
from frameworks import FrameworkConformance

import skyward as sky
from skyward.spi import ComputeSpec
from skyward_torch import Torch
from skyward_transformers import Transformers, transformers


class TestTransformers(FrameworkConformance):
    plugin = transformers(wheels="pypi")
    packages = ()


def test_it_is_a_value_that_users_find_by_its_name() -> None:
    assert sky.integrations.transformers is transformers
    chosen = transformers(backend="gloo", timeout=60)
    assert chosen == pickle.loads(pickle.dumps(chosen)) == Transformers(Torch(backend="gloo", timeout=60.0))
    with pytest.raises(sky.ConfigurationError, match="takes its settings by name"):
        transformers("nccl")  # type: ignore[call-overload]
    with pytest.raises(sky.ConfigurationError, match="did you mean 'nccl'"):
        transformers(backend="ncl")


def test_nodes_get_what_torch_needs_and_what_the_trainer_does() -> None:
    spec = ComputeSpec(nodes=2, image=sky.Image())
    has, under = transformers(backend="gloo").supplies(spec), Torch(backend="gloo").supplies(spec)
    assert has.private_network
    assert has.pip == (*under.pip, "transformers>=4.46", "accelerate>=1.1")
    assert dict(has.env) == dict(under.env)
    with pytest.raises(sky.ConfigurationError, match="asks for none"):
        transformers(backend="nccl").supplies(spec)
