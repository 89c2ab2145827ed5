"""A pool's keyword parameters as a type, for everything that brings a pool of its own and hands them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skyward._events import Callback
    from skyward._options import SelectionLike
    from skyward.model.accelerator import Accelerator
    from skyward.model.allocation import AllocationLike
    from skyward.model.image import Image
    from skyward.model.volume import Volume
    from skyward.spi.integration import Integration

__all__ = ["PoolParameters"]


class PoolParameters(TypedDict, total=False):
    """What ``ComputePool`` takes besides ``provider``; meaning and defaults stand there."""

    selection: SelectionLike
    image: Image | None
    nodes: int
    machine: str | None
    accelerator: str | Accelerator | None
    cpu: int | None
    memory: str | None
    volume: Sequence[Volume] | None
    allocation: AllocationLike
    max_hourly_cost: float | None
    budget: float | None
    timeout: float | None
    env: Mapping[str, str] | None
    concurrency: int
    display: Literal["log", "spinner", "quiet"]
    on_event: Callback | None
    collect_metrics: bool
    provision_timeout: float
    lease: float | Literal["provider"] | None
    plugins: Sequence[Integration]
