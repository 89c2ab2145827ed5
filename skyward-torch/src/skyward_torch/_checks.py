"""Whether settings make sense, and whether a pool's request suits them: said before anything is bought."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyward.spi import ComputeSpec

__all__ = ["backend_of", "demand_gpus", "seconds_of", "wheels_for", "wheels_of"]

_BACKENDS = ("nccl", "gloo")
_WHEELS = re.compile(r"auto|cpu|pypi|xpu|cu\d{2,3}|rocm\d+(\.\d+)*")


def _refusal(text: str) -> Exception:
    from skyward import ConfigurationError

    return ConfigurationError(text)


def backend_of(value: object) -> str | None:
    """A backend's name; raises ``ConfigurationError`` for others than ``"nccl"`` and ``"gloo"``."""
    if value is None:
        return None
    name = value.strip().lower() if isinstance(value, str) else ""
    if name not in _BACKENDS:
        near = get_close_matches(name, _BACKENDS, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise _refusal(
            f"backend={value!r} is none that torch's process groups are made with here: {meant}"
            "use 'nccl' for GPUs or 'gloo' for CPUs, or leave it out for what the nodes have"
        )
    return name


def seconds_of(value: object) -> float | None:
    """A time limit in seconds; raises ``ConfigurationError`` unless it is above 0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise _refusal(f"timeout={value!r} is no time limit: give seconds above 0, or leave it out for torch's own")
    return float(value)


def wheels_of(value: object) -> str | None:
    """The name of builds of torch; raises ``ConfigurationError`` for what cannot be one."""
    if value is None:
        return None
    if not isinstance(value, str) or not _WHEELS.fullmatch(value):
        near = get_close_matches(str(value), ("pypi", "auto", "cpu", "xpu"), 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise _refusal(
            f"wheels={value!r} names no builds of torch: {meant}give 'pypi', 'auto', 'cpu', or those of a version of "
            "CUDA or ROCm, such as 'cu128'"
        )
    return value


def wheels_for(spec: ComputeSpec) -> str:
    """The builds for a pool that leaves them open.

    Those of PyPI are for NVIDIA's GPUs, and ten times as large as those for CPUs. Whether a machine that is asked for
    by its own name has GPUs is not known here, nor is it of this machine's nodes: uv sees it on the node.
    """
    accelerator = spec.accelerator
    nvidia = accelerator is not None and accelerator.vendor.casefold() == "nvidia"
    return "pypi" if nvidia or spec.image.pip_extra_index_url is not None else "auto"


def demand_gpus(spec: ComputeSpec) -> None:
    """Refuse nccl where a pool asks for no GPUs, or for fewer than it runs functions on a node.

    Raises:
        ConfigurationError: with the remedy.
    """
    accelerator = spec.accelerator
    if accelerator is None:
        if spec.machine is None:
            raise _refusal(
                "backend='nccl' needs GPUs, and the pool asks for none: give it accelerator=..., as in "
                "ComputePool(accelerator='A100'), or use backend='gloo' for CPUs"
            )
        return
    if accelerator.vendor.casefold() != "nvidia" and accelerator.vendor.casefold() != "amd":
        raise _refusal(
            f"backend='nccl' is for GPUs of NVIDIA and AMD, and {accelerator.name} is made by {accelerator.vendor}: "
            "use another accelerator, or backend='gloo' for CPUs"
        )
    if accelerator.mig is None and spec.concurrency > accelerator.count:
        raise _refusal(
            f"backend='nccl' needs a GPU for each of the {spec.concurrency} functions that concurrency="
            f"{spec.concurrency} runs on a node, which has {accelerator.count}: use concurrency={accelerator.count}, "
            "more GPUs (accelerator='NAME:COUNT'), or backend='gloo'"
        )
