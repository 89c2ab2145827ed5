"""What the integration puts around a function, and in which order: by pure tests, without any node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import skyward as sky
from skyward_torch import _process_group, torch
from skyward_transformers import _trainer_state, transformers


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a function is run in, as it is entered: the process group with its backend, and the Trainer's state."""
    found: list[str] = []

    @contextmanager
    def process_group(backend: str | None, *_: Any) -> Iterator[None]:
        found.append(f"group on {backend}")
        yield

    @contextmanager
    def trainer_state() -> Iterator[None]:
        found.append("state")
        yield

    monkeypatch.setattr(_process_group, "process_group", process_group)
    monkeypatch.setattr(_trainer_state, "trainer_state", trainer_state)
    return found


ORDERS: dict[str, Callable[[Any], sky.ComputeFunction[..., Any]]] = {
    "alone": transformers(backend="gloo"),
    "over a function of its own": lambda function: transformers(transformers(backend="gloo")(function)),
    "over one of torch's": lambda function: transformers(torch(backend="gloo")(function)),
    "over one of torch's with settings": lambda function: transformers(backend="nccl")(torch(backend="gloo")(function)),
    "below torch's": lambda function: torch(backend="nccl")(transformers(backend="gloo")(function)),
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_trainer_looks_at_the_group_of_the_setting_that_stands_nearest(order: str, entered: list[str]) -> None:
    made = ORDERS[order](sky.compute(retry=2)(len))
    assert made.local("four") == 4
    assert entered == ["group on gloo", "state"]
    assert (made.retry, made.together) == (2, True)


def test_torchs_judgement_of_errors_is_kept() -> None:
    made: Any = transformers(len)
    assert made.is_consequence(RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"))
    assert made.bound_to(2) == ""


@pytest.mark.parametrize("missing", ["transformers", "accelerate", "torch"])
def test_a_node_without_what_it_needs_says_so_before_a_group_is_formed(
    missing: str, entered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_trainer_state, "current_group", lambda: "a group")
    monkeypatch.setattr(_trainer_state, "find_spec", lambda name: None if name == missing else "here")
    with pytest.raises(ModuleNotFoundError) as caught:
        transformers(len).local("four")
    assert str(caught.value) == (
        f"{missing} is not installed on this node: add plugins=[sky.integrations.transformers()] or "
        'Image(pip=["transformers[torch]"])'
    )
    assert caught.value.name == missing
    assert not entered
