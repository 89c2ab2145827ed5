"""Questions about who made an accelerator."""

from __future__ import annotations

from skyward.errors import ConfigurationError
from skyward.model.accelerator import Accelerator

__all__ = ["is_nvidia", "is_trainium"]


def is_nvidia(accelerator: str | Accelerator | None) -> bool:
    """Whether this is a GPU of NVIDIA. False for ``None`` (no accelerator) and for names that are not known."""
    found = _known(accelerator)
    return found is not None and found.vendor == "NVIDIA"


def is_trainium(accelerator: str | Accelerator | None) -> bool:
    """Whether this is a Trainium of AWS, of any generation. False for ``None`` and for names that are not known."""
    found = _known(accelerator)
    return found is not None and found.vendor == "AWS" and found.name.startswith("Trainium")


def _known(accelerator: str | Accelerator | None) -> Accelerator | None:
    """The accelerator, or ``None``: nodes may report devices that are newer than the catalogue."""
    if accelerator is None:
        return None
    try:
        return Accelerator.parse(accelerator)
    except ConfigurationError:
        return None
