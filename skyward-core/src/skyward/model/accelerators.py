"""Accelerators by name, with completion and types: ``sky.accelerators.T4()``, ``sky.accelerators.H100(count=4)``.

Each name is called with the number of devices per node (``count``, default 1) and returns the same frozen
:class:`~skyward.model.accelerator.Accelerator` as the string of that name would. Memory sizes, MIG profiles and where
the figures come from stand in ``catalogue.toml``.
"""
# ruff: noqa: N802 - a function here bears the name of a product

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from skyward.errors import ConfigurationError
from skyward.model.accelerator import Accelerator

__all__ = [
    "A2", "A10", "A10G", "A30", "A40", "A100", "A4000", "A4500", "A5000", "A6000", "B100", "B200", "B300", "GB200",
    "GB300", "GH200", "H20", "H100", "H200", "K80", "L4", "L40", "L40S", "M60", "MI", "P4", "P40", "P100",
    "RTX_3090", "RTX_4080", "RTX_4090", "RTX_5080", "RTX_5090", "RTX_PRO_4500", "RTX_PRO_6000", "T4", "T4G", "TPU",
    "V100", "Inferentia", "Quadro_RTX_6000", "Quadro_RTX_8000", "RTX_2000_Ada", "RTX_3090_Ti", "RTX_4000_Ada",
    "RTX_5000_Ada", "RTX_6000_Ada", "TPUSlice", "Trainium",
]  # fmt: skip

type HopperProfile = Literal[
    "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb",
    "1g.12gb", "1g.24gb", "2g.24gb", "3g.47gb", "4g.47gb", "7g.94gb",
]  # fmt: skip
type H200Profile = Literal["1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"]
type A100Profile = Literal[
    "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb",
    "1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb",
]  # fmt: skip
type A30Profile = Literal["1g.6gb", "2g.12gb", "4g.24gb"]
type MIName = Literal["100", "210", "250", "250X", "300A", "300X", "325X", "350X", "355X"]
type TPUVersion = Literal["v2", "v3", "v4", "v5e", "v5p", "v6e"]


@frozen
class Plain:
    """Makes accelerators of a model that has nothing to choose but how many."""

    name: str

    def __call__(self, count: int = 1) -> Accelerator:
        return Accelerator(self.name, count)

    def __repr__(self) -> str:
        return f"<{self.name}(count=1) -> Accelerator>"


GB300: Final = Plain("GB300")
GB200: Final = Plain("GB200")
B300: Final = Plain("B300")
B200: Final = Plain("B200")
B100: Final = Plain("B100")
GH200: Final = Plain("GH200")
H20: Final = Plain("H20")
L40S: Final = Plain("L40S")
L40: Final = Plain("L40")
L4: Final = Plain("L4")
A40: Final = Plain("A40")
A10G: Final = Plain("A10G")
A10: Final = Plain("A10")
A2: Final = Plain("A2")
A6000: Final = Plain("A6000")
A5000: Final = Plain("A5000")
A4500: Final = Plain("A4500")
A4000: Final = Plain("A4000")
T4: Final = Plain("T4")
T4G: Final = Plain("T4G")
P100: Final = Plain("P100")
P40: Final = Plain("P40")
P4: Final = Plain("P4")
M60: Final = Plain("M60")
K80: Final = Plain("K80")
RTX_PRO_6000: Final = Plain("RTX-PRO-6000")
RTX_PRO_4500: Final = Plain("RTX-PRO-4500")
RTX_6000_Ada: Final = Plain("RTX-6000-Ada")
RTX_5000_Ada: Final = Plain("RTX-5000-Ada")
RTX_4000_Ada: Final = Plain("RTX-4000-Ada")
RTX_2000_Ada: Final = Plain("RTX-2000-Ada")
RTX_5090: Final = Plain("RTX-5090")
RTX_5080: Final = Plain("RTX-5080")
RTX_4090: Final = Plain("RTX-4090")
RTX_4080: Final = Plain("RTX-4080")
RTX_3090_Ti: Final = Plain("RTX-3090-Ti")
RTX_3090: Final = Plain("RTX-3090")
Quadro_RTX_8000: Final = Plain("Quadro-RTX-8000")
Quadro_RTX_6000: Final = Plain("Quadro-RTX-6000")


def H100(
    count: int = 1,
    memory: Literal["80GB", "94GB", "40GB"] | None = None,
    mig: HopperProfile | None = None,
    form: Literal["SXM", "PCIe", "NVL"] | None = None,
) -> Accelerator:
    """NVIDIA H100. ``memory`` is 80GB if left out, or the size that has the profile ``mig``; NVL has 94GB."""
    return Accelerator("H100" if form is None else f"H100-{form}", count, memory, mig)


def H200(count: int = 1, mig: H200Profile | None = None) -> Accelerator:
    """NVIDIA H200, 141GB."""
    return Accelerator("H200", count, mig=mig)


def A100(
    count: int = 1,
    memory: Literal["80GB", "40GB"] | None = None,
    mig: A100Profile | None = None,
    form: Literal["SXM", "PCIe"] | None = None,
) -> Accelerator:
    """NVIDIA A100. ``memory`` is 80GB if left out, or the size that has the profile ``mig``."""
    return Accelerator("A100" if form is None else f"A100-{form}", count, memory, mig)


def A30(count: int = 1, mig: A30Profile | None = None) -> Accelerator:
    """NVIDIA A30, 24GB."""
    return Accelerator("A30", count, mig=mig)


def V100(count: int = 1, memory: Literal["16GB", "32GB"] | None = None) -> Accelerator:
    """NVIDIA V100. ``memory`` is 16GB if left out, which a V100 of 32GB meets as well."""
    return Accelerator("V100", count, memory)


def MI(name: MIName, count: int = 1) -> Accelerator:
    """AMD Instinct by what follows "MI": ``MI("300X")``."""
    return Accelerator(f"MI{_text('name', name).upper().removeprefix('MI')}", count)


def Trainium(version: Literal[1, 2, 3] = 2, count: int = 1) -> Accelerator:
    """AWS Trainium of the given generation. ``count`` is in chips."""
    return Accelerator(f"Trainium{version}", count)


def Inferentia(version: Literal[1, 2] = 2, count: int = 1) -> Accelerator:
    """AWS Inferentia of the given generation. ``count`` is in chips."""
    return Accelerator(f"Inferentia{version}", count)


def TPU(version: TPUVersion = "v5e", count: int = 1) -> Accelerator:
    """Google TPU of the given version. ``count`` is in chips."""
    return Accelerator(f"TPU-{_text('version', version)}", count)


def TPUSlice(name: str) -> Accelerator:
    """Make a slice by Google's name, ``"v5p-8"``, as so many chips.

    The number counts cores for v2, v3, v4 and v5p, which have two to a chip (so ``"v5p-8"`` is 4 chips), and chips for
    v5e and v6e.
    """
    accelerator = Accelerator.parse(_text("name", name))
    if accelerator.vendor != "Google" or ":" in name or "-" not in name.casefold().removeprefix("tpu-"):
        raise ConfigurationError(f"'{name}' is not a slice of a TPU; write its version and size, such as 'v5p-8'")
    return accelerator


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} must be a string, not {value!r}; write {what}='{value}'")
    return value
