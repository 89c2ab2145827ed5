"""The parts of this machine's GPUs that slots can have to themselves."""

from __future__ import annotations

import contextlib

__all__ = ["mig_partitions"]


def mig_partitions() -> list[str]:
    """Return the identifiers of all MIG partitions, as ``CUDA_VISIBLE_DEVICES`` takes them; empty without any.

    Source of the form ``MIG-<UUID>``: NVIDIA's Multi-Instance GPU User Guide, "Device Enumeration".
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  no library, no driver: the library has many ways to say so
        return []
    found: list[str] = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        with contextlib.suppress(pynvml.NVMLError):
            for part in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(device)):
                with contextlib.suppress(pynvml.NVMLError):  # fewer partitions than the device could have
                    handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, part)
                    found.append(str(pynvml.nvmlDeviceGetUUID(handle)))
    return found
