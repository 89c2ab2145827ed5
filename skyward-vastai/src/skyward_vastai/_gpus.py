"""The names that Vast.ai has for accelerators, and those of the catalogue. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from skyward import Accelerator, ConfigurationError

__all__ = ["accelerator", "names_of"]

_OTHER: Mapping[str, str] = MappingProxyType(
    {
        "B200": "B200-SXM",  # has no other form, and neither has the H200 that is not an NVL
        "GH200 SXM": "GH200",
        "H200": "H200-SXM",
        "InstinctMI100": "MI100",
        "InstinctMI210": "MI210",
        "InstinctMI250X": "MI250X",
        "Q RTX 6000": "Quadro-RTX-6000",
        "Q RTX 8000": "Quadro-RTX-8000",
        "RTX PRO 6000 Max-Q": "RTX-PRO-6000",
        "RTX PRO 6000 S": "RTX-PRO-6000",
        "RTX PRO 6000 WS": "RTX-PRO-6000",
    }
)
"""Names that the catalogue does not read, or reads with less than they say."""
_NAMES = (
    *("A10", "A10g", "A30", "A40", "A100 PCIE", "A100 SXM", "A100 SXM4", "B200", "GH200 SXM"),
    *("H100 NVL", "H100 PCIE", "H100 SXM", "H200", "H200 NVL", "L4", "L40", "L40S"),
    *("Tesla K80", "Tesla P4", "Tesla P40", "Tesla P100", "Tesla T4", "Tesla V100"),
    *("RTX 3090", "RTX 3090 Ti", "RTX 4080", "RTX 4090", "RTX 5080", "RTX 5090"),
    *("RTX A4000", "RTX A4500", "RTX A5000", "RTX A6000", "Q RTX 6000", "Q RTX 8000"),
    *("RTX 2000Ada", "RTX 4000Ada", "RTX 5000Ada", "RTX 6000Ada"),
    *("RTX PRO 4500", "RTX PRO 6000", "RTX PRO 6000 Max-Q", "RTX PRO 6000 S", "RTX PRO 6000 WS"),
    *("InstinctMI100", "InstinctMI210", "InstinctMI250X"),
)
"""Those of Vast.ai's names, of its Python package 1.9.1 (``vastai/data/query.py``), that the catalogue has, too."""


@lru_cache(maxsize=1024)
def accelerator(name: str, count: int, mb: float) -> Accelerator | None:
    """What a machine has; ``None`` for nothing, and for what the catalogue does not know.

    Args:
        name: as Vast.ai writes it.
        count: how many.
        mb: memory of one, in MiB as its driver shows it, which may be less than what its maker prints.
    """
    if count < 1:
        return None
    for memory in (f"{round(mb / 1024)}GB", None):
        try:
            return Accelerator(_OTHER.get(name, name), count=count, memory=memory)
        except ConfigurationError:
            continue
    return None


def names_of(wanted: Accelerator) -> list[str]:
    """Vast.ai's names of what may meet a request, and its own name for what is newer than the table.

    Each comes with spaces, as in Vast.ai's answers and its command line, and with underscores, as in its documentation.
    """
    found = [name for name in _NAMES if _meets(name, wanted)] or [wanted.name.replace("-", " ")]
    return list(dict.fromkeys(spelling for name in found for spelling in (name, name.replace(" ", "_"))))


def _meets(name: str, wanted: Accelerator) -> bool:
    """Whether the name is that of the model, and of the form if one is wanted."""
    try:
        sold = Accelerator(_OTHER.get(name, name))
    except ConfigurationError:
        return False
    return sold.model == wanted.model and wanted.form in (None, sold.form)
