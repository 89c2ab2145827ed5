"""``AcceleratorSpec``: the factories of :mod:`skyward.model.accelerators`, grouped by vendor."""

from __future__ import annotations

from typing import Final

from skyward.model import accelerators as by_name

__all__ = ["AcceleratorSpec"]


class AcceleratorSpec:
    """``AcceleratorSpec.NVIDIA.H100(count=4)`` is ``accelerators.H100(count=4)``. A namespace: it has no instances."""

    class NVIDIA:
        """GPUs of NVIDIA."""

        GB300: Final = by_name.GB300
        GB200: Final = by_name.GB200
        B300: Final = by_name.B300
        B200: Final = by_name.B200
        B100: Final = by_name.B100
        GH200: Final = by_name.GH200
        H200 = staticmethod(by_name.H200)
        H100 = staticmethod(by_name.H100)
        H20: Final = by_name.H20
        L40S: Final = by_name.L40S
        L40: Final = by_name.L40
        L4: Final = by_name.L4
        A100 = staticmethod(by_name.A100)
        A40: Final = by_name.A40
        A30 = staticmethod(by_name.A30)
        A10G: Final = by_name.A10G
        A10: Final = by_name.A10
        A2: Final = by_name.A2
        A6000: Final = by_name.A6000
        A5000: Final = by_name.A5000
        A4500: Final = by_name.A4500
        A4000: Final = by_name.A4000
        T4: Final = by_name.T4
        T4G: Final = by_name.T4G
        V100 = staticmethod(by_name.V100)
        P100: Final = by_name.P100
        P40: Final = by_name.P40
        P4: Final = by_name.P4
        M60: Final = by_name.M60
        K80: Final = by_name.K80
        RTX_PRO_6000: Final = by_name.RTX_PRO_6000
        RTX_PRO_4500: Final = by_name.RTX_PRO_4500
        RTX_6000_Ada: Final = by_name.RTX_6000_Ada
        RTX_5000_Ada: Final = by_name.RTX_5000_Ada
        RTX_4000_Ada: Final = by_name.RTX_4000_Ada
        RTX_2000_Ada: Final = by_name.RTX_2000_Ada
        RTX_5090: Final = by_name.RTX_5090
        RTX_5080: Final = by_name.RTX_5080
        RTX_4090: Final = by_name.RTX_4090
        RTX_4080: Final = by_name.RTX_4080
        RTX_3090_Ti: Final = by_name.RTX_3090_Ti
        RTX_3090: Final = by_name.RTX_3090
        Quadro_RTX_8000: Final = by_name.Quadro_RTX_8000
        Quadro_RTX_6000: Final = by_name.Quadro_RTX_6000

    class AMD:
        """Instinct GPUs of AMD."""

        MI = staticmethod(by_name.MI)

    class AWS:
        """Chips of AWS."""

        Trainium = staticmethod(by_name.Trainium)
        Inferentia = staticmethod(by_name.Inferentia)

    class Google:
        """TPUs of Google."""

        TPU = staticmethod(by_name.TPU)
        TPUSlice = staticmethod(by_name.TPUSlice)
