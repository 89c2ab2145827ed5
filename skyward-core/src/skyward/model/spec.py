"""What a pool asks for, after its parameters were checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import frozen

from skyward.model.image import Image

if TYPE_CHECKING:  # the first reads the catalogue, and few pools need either
    from skyward.model.accelerator import Accelerator  # noqa: TC004
    from skyward.model.volume import Volume  # noqa: TC004

__all__ = ["ComputeSpec", "Market"]

type Market = Literal["spot", "on-demand"]


@frozen(kw_only=True)
class ComputeSpec:
    """The request of one pool, as providers and selectors see it.

    Attributes:
        nodes: number of machines.
        image: the software environment.
        machine: the provider's own name of a machine type; ``None`` leaves the choice to the offers.
        accelerator: what each node must have.
        cpu: virtual CPUs that each node must have at least.
        memory_gb: memory in GB that each node must have at least.
        concurrency: tasks that each node runs at a time; a MIG profile has multiplied it already.
        volumes: what is mounted on each node.
        timeout: seconds that the machines may live; ``None`` for no limit.
    """

    nodes: int
    image: Image
    machine: str | None = None
    accelerator: Accelerator | None = None
    cpu: int | None = None
    memory_gb: float | None = None
    concurrency: int = 1
    volumes: tuple[Volume, ...] = ()
    timeout: float | None = 3600
