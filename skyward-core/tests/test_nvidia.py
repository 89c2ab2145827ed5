"""``NVIDIA`` is generated. ``python skyward-core/tests/test_nvidia.py`` writes it anew from the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import skyward.model.catalogue
from skyward.model.accelerator import Accelerator
from skyward.model.catalogue import nvidia_names

NVIDIA_PY = Path(skyward.model.catalogue.__file__).with_name("nvidia.py")

TEMPLATE = '''"""``NVIDIA``: the names of NVIDIA's GPUs, as a type. Generated from ``catalogue.toml``."""

from __future__ import annotations

from typing import Literal

__all__ = ["NVIDIA"]

NVIDIA = Literal[
{members}
]
'''


def render() -> str:
    return TEMPLATE.format(members="\n".join(f'    "{name}",' for name in nvidia_names()))


def test_the_nvidia_literal_is_what_the_catalogue_generates() -> None:
    remedy = "run `python skyward-core/tests/test_nvidia.py`"
    assert NVIDIA_PY.read_text(encoding="utf-8") == render(), remedy


def test_every_member_of_the_literal_is_an_accelerator_of_nvidia_under_that_very_name() -> None:
    from skyward.model.nvidia import NVIDIA

    for name in get_args(NVIDIA):
        accelerator = Accelerator.parse(name)
        assert accelerator.vendor == "NVIDIA"
        assert name in {accelerator.name, f"{accelerator.name}-{accelerator.memory}"}


def test_the_literal_has_the_names_that_users_were_promised() -> None:
    from skyward.model.nvidia import NVIDIA

    promised = (
        "T4 L4 L40 L40S A10 A10G A100-40GB A100-80GB H100-80GB H100-SXM H100-PCIe H100-NVL H200 B100 B200 GB200 GH200"
    )
    assert set(promised.split()) <= set(get_args(NVIDIA))


if __name__ == "__main__":
    NVIDIA_PY.write_text(render(), encoding="utf-8")
