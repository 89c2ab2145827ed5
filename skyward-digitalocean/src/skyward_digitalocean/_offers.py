"""From the sizes that DigitalOcean lists to offers. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from skyward import Accelerator, ConfigurationError
from skyward.spi import ComputeSpec, Offer, cheapest_first, meets

__all__ = ["GpuInfo", "Size", "Vram", "accelerator_of", "image_of", "offers_of"]

_LEAST_SECONDS, _LEAST_DOLLARS = 60.0, 0.01
"""What is paid at least, the higher of both; then by the second:
https://docs.digitalocean.com/products/droplets/details/pricing/, since 2026-01-01."""
_SPECIAL = ("-spot", "-contracted")
"""How the slugs of GPU sizes end that DigitalOcean takes back at will, or sells under a contract alone."""

_CPU_IMAGE, _AMD_IMAGE = "ubuntu-24-04-x64", "gpu-amd-base"
_NVIDIA_IMAGE, _NVIDIA_IMAGE_OF_EIGHT = "gpu-h100x1-base", "gpu-h100x8-base"
"""DigitalOcean's Ubuntu with drivers, for all of a vendor's GPUs, whatever the slug says:
https://docs.digitalocean.com/products/droplets/getting-started/recommended-gpu-setup/."""


@frozen
class Vram:
    """Memory of one GPU."""

    amount: float = 0
    unit: str = ""


@frozen
class GpuInfo:
    """What GPUs a size has."""

    count: int = 0
    model: str = ""
    vram: Vram | None = None


@frozen
class Size:
    """A kind of droplet, as ``GET /v2/sizes`` lists it: memory in MiB, the price in dollars for an hour."""

    slug: str
    memory: int
    vcpus: int
    price_hourly: float
    regions: tuple[str, ...] = ()
    available: bool = True
    gpu_info: GpuInfo | None = None


def offers_of(sizes: Iterable[Size], spec: ComputeSpec, *, provider: str, region: str) -> list[Offer]:
    """The offers of a region that meet a request, the cheapest first.

    Without a size by name, GPUs that nobody has asked for are left out, and so are sizes that can be taken back or
    need a contract, whose terms nothing here could hold.
    """
    fitting = (size for size in sizes if size.available and region in size.regions and _fits(size, spec))
    return cheapest_first(_offer(size, provider, region) for size in fitting)


def accelerator_of(info: GpuInfo | None) -> Accelerator | None:
    """The GPUs of a size; ``None`` for none, and for what the catalogue does not know."""
    if info is None or info.count < 1 or not info.model:
        return None
    sizes = [f"{info.vram.amount:g}GB"] if info.vram is not None and info.vram.amount else []
    for memory in (*sizes, None):  # what is fitted and what is told of it differ for some models
        try:
            return Accelerator(info.model, count=info.count, memory=memory)
        except ConfigurationError:
            continue
    return None


def image_of(accelerator: Accelerator | None, *, gpu: bool) -> str:
    """What a droplet boots, by its GPUs."""
    if not gpu:
        return _CPU_IMAGE
    if accelerator is not None and accelerator.vendor == "AMD":
        return _AMD_IMAGE
    return _NVIDIA_IMAGE_OF_EIGHT if accelerator is not None and accelerator.count == 8 else _NVIDIA_IMAGE


def _fits(size: Size, spec: ComputeSpec) -> bool:
    if spec.machine is None and size.slug.endswith(_SPECIAL):
        return False
    return meets(
        spec,
        size.slug,
        vcpu=size.vcpus,
        memory_gb=size.memory / 1024,
        accelerator=accelerator_of(size.gpu_info),
        devices=size.gpu_info is not None,
    )


def _offer(size: Size, provider: str, region: str) -> Offer:
    accelerator = accelerator_of(size.gpu_info)
    price = size.price_hourly
    return Offer(
        provider=provider,
        instance_type=size.slug,
        region=region,
        price=price,
        on_demand_price=price,
        vcpu=size.vcpus,
        memory_gb=size.memory / 1024,
        accelerator=accelerator,
        billing_quantum=1.0,
        billing_minimum=max(_LEAST_SECONDS, _LEAST_DOLLARS / price * 3600 if price > 0 else 0.0),
        details={"image": image_of(accelerator, gpu=size.gpu_info is not None)},
    )
