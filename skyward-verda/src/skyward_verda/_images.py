"""Which of Verda's images a machine boots. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from skyward import Unavailable

__all__ = ["Image", "chosen"]

_UBUNTU = re.compile(r"ubuntu-(\d+)\.(\d+)(?:-cuda-(\d+)\.(\d+))?(-open)?(-docker)?")


@frozen
class Image:
    """An image, as ``GET /images`` tells of it.

    Attributes:
        image_type: its name, such as ``"ubuntu-24.04-cuda-12.8-open"``.
        is_cluster: whether it is for clusters alone.
    """

    image_type: str
    is_cluster: bool = False


def chosen(images: Iterable[Image], supported: Iterable[str], *, cuda: bool, kind: str) -> str:
    """The newest Ubuntu; with drivers and CUDA where there are GPUs, and without Docker if there is the choice.

    Args:
        images: what Verda has for the machine.
        supported: names of those that the machine can boot; none where that is not told.
        cuda: whether the machine has GPUs.
        kind: its type, for the message.

    Raises:
        Unavailable: there is no Ubuntu for it.
    """
    names = {image.image_type for image in images if not image.is_cluster}
    able = names & set(supported) or names
    ranked = sorted((rank, name) for name in able if (rank := _rank(name, cuda=cuda)) is not None)
    if not ranked:
        said = ", ".join(sorted(able)) or "none"
        raise Unavailable(
            f"Verda has no image of Ubuntu{' with CUDA' if cuda else ''} for {kind}, but {said}: name one in "
            "Verda(image=...)"
        )
    return ranked[-1][1]


def _rank(name: str, *, cuda: bool) -> tuple[int, ...] | None:
    found = _UBUNTU.fullmatch(name)
    if found is None or bool(found[3]) is not cuda:
        return None
    return (int(found[1]), int(found[2]), int(found[3] or 0), int(found[4] or 0), bool(found[5]), not found[6])
