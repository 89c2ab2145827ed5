"""On a node: what accelerate, on which the Trainer stands, keeps in a process, for the time of one call.

accelerate looks for a process group once in the life of a process, and remembers what it has found. A call must not
find what was before it, and leaves nothing behind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from skyward.spi import current_group, environ_with, not_on_this_node, uninterrupted

__all__ = ["demanded", "trainer_state"]

_STATES = ("PartialState", "AcceleratorState", "GradientState")
_PREFIXES = ("ACCELERATE_", "FSDP_")
"""Of variables by which the Trainer tells accelerate its arguments."""


@contextmanager
def demanded() -> Iterator[None]:
    """Refuse to run in a group on a node that lacks what its functions need, before the group is formed.

    Raises:
        ModuleNotFoundError: transformers, accelerate or torch is not installed.
    """
    if current_group() is not None:
        for name in ("transformers", "accelerate", "torch"):
            if find_spec(name) is None:
                raise not_on_this_node(name, "transformers", "transformers[torch]")
    yield


@contextmanager
def trainer_state() -> Iterator[None]:
    """Let accelerate see the process group that is there now, inside the block."""
    if current_group() is None:
        yield
        return
    before = [(state, dict(state)) for state in _states()]
    variables = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
    try:
        for state, _ in before:
            state.clear()
        with environ_with(_settings()):
            _look_at_the_group()
            yield
    finally:
        with uninterrupted():
            for state in _states():
                state.clear()
            for state, values in before:
                state.update(values)
            for name in [name for name in os.environ if name.startswith(_PREFIXES) and name not in variables]:
                del os.environ[name]
            os.environ.update(variables)


def _states() -> list[dict[str, Any]]:
    """Where accelerate keeps what it has found; nothing before it is imported."""
    module = sys.modules.get("accelerate.state")
    return [cls._shared_state for name in _STATES if (cls := getattr(module, name, None)) is not None]


def _look_at_the_group() -> None:
    """Have accelerate notice a group on CPUs now: asked by the function itself, it would look for GPUs alone."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in {"1", "true", "yes", "y", "on", "t"}:
        from accelerate import PartialState

        PartialState(cpu=True)


def _settings() -> dict[str, str | None]:
    """What accelerate does not find out by itself.

    It takes no notice of a group on CPUs unless it is told to compute there: each rank would train alone. And it would
    use all cores that it can count, whoever else is on the node.
    """
    import torch
    import torch.distributed as dist

    found: dict[str, str | None] = {}
    if "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    if "ACCELERATE_USE_CPU" not in os.environ and dist.is_initialized() and dist.get_backend() == "gloo":
        found["ACCELERATE_USE_CPU"] = "true"
    return found
