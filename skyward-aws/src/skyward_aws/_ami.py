"""The images that machines boot: found by the names under which their makers publish the newest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from skyward import Accelerator, Unavailable

if TYPE_CHECKING:
    from skyward_aws._api import Api

__all__ = ["Image", "described", "found", "parameter_of"]

# Canonical: https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
_UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id"
# AWS's own: https://docs.aws.amazon.com/dlami/latest/devguide/find-dlami-id.html
_NVIDIA = "/aws/service/deeplearning/ami/{}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
# https://awsdocs-neuron.readthedocs-hosted.com/en/latest/dlami/index.html; there is none for arm64.
_NEURON = "/aws/service/neuron/dlami/base/ubuntu-24.04/latest/image_id"


@frozen
class Image:
    """An image of a region.

    Attributes:
        id: of AWS.
        architecture: ``"x86_64"`` or ``"arm64"``.
        device: the name of its root device.
        size: GiB that its root volume has at least.
    """

    id: str
    architecture: str
    device: str
    size: int


def parameter_of(architecture: str, accelerator: Accelerator | None) -> str:
    """The public parameter that holds the image's id."""
    if accelerator is None:
        return _UBUNTU.format("amd64" if architecture == "x86_64" else "arm64")
    return _NEURON if accelerator.vendor == "AWS" else _NVIDIA.format(architecture)


async def found(api: Api, architecture: str, accelerator: Accelerator | None) -> Image:
    """The newest image for a machine.

    Raises:
        Unavailable: the region has none.
    """
    name = parameter_of(architecture, accelerator)
    answer = await api.ask("get_parameters", service="ssm", Names=[name])
    if not answer["Parameters"]:
        raise Unavailable(
            f"AWS publishes no image for {accelerator or architecture} in {api.region}, under {name}: give one of your "
            "own in AWS(ami=...)"
        )
    return await described(api, answer["Parameters"][0]["Value"])


async def described(api: Api, image_id: str) -> Image:
    """An image by its id.

    Raises:
        Unavailable: there is none that this account may use.
    """
    images = (await api.ask("describe_images", Filters=[{"Name": "image-id", "Values": [image_id]}]))["Images"]
    if not images:
        raise Unavailable(
            f"there is no image {image_id} in {api.region} that this account may use: give the id of one of this "
            "region in AWS(ami=...)"
        )
    return _image(images[0])


def _image(facts: Mapping[str, Any]) -> Image:
    device = str(facts.get("RootDeviceName") or "/dev/sda1")
    sizes = [
        each["Ebs"].get("VolumeSize", 1)
        for each in facts.get("BlockDeviceMappings", ())
        if each.get("DeviceName") == device and "Ebs" in each
    ]
    return Image(str(facts["ImageId"]), str(facts.get("Architecture", "x86_64")), device, max(sizes, default=1))
