"""How busy a node is: processor, memory and GPUs, as the fields of a ``Metrics`` event.

Figures are of the whole machine, except that a cgroup's memory limit, where it is lower, takes the place of the
machine's memory: it is at that limit that the kernel kills. Memory is in MiB, utilisation in percent, temperature in
degrees Celsius.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

_MIB = 1024 * 1024
_FIRST_INTERVAL = 0.05
"""Seconds over which the processor is watched for the first figure, when nobody called ``prime``."""

_RETRY_EVERY = 30
"""Samples between two looks for a GPU driver that was missing or went away."""

_primed = False


def prime() -> None:
    """Start watching the processor, so that the first ``sample`` covers the time since now. Costs next to nothing."""
    global _primed
    try:
        import psutil

        psutil.cpu_percent(None)
        _primed = True
    except Exception:  # noqa: BLE001 - missing, or refused by a sandbox: sample() says so in its figures
        return


def sample() -> dict[str, float | None]:
    """The node's figures now; ``cpu_percent`` is the mean since the sample before. Never raises.

    Without psutil the figures of processor and memory are NaN. The GPU's are ``None`` without a GPU that tells them.
    With several GPUs, ``gpu_utilization`` is the mean over them, the two memory figures are sums, and
    ``gpu_temperature`` is the hottest one's.
    """
    unknown = dict.fromkeys(("cpu_percent", "memory_percent", "memory_used_mb", "memory_total_mb"), math.nan)
    return {**unknown, **_machine(), **_gpus.sample()}


def _machine() -> dict[str, float]:
    try:
        import psutil

        cpu = psutil.cpu_percent(None if _primed else _FIRST_INTERVAL)
        memory = psutil.virtual_memory()
    except Exception:  # noqa: BLE001 - a figure that cannot be had must not end the node
        return {}
    if not _primed:
        prime()
    used, total = memory.total - memory.available, memory.total
    limited = cgroup_memory()
    if limited is not None and limited[1] < total:
        used, total = limited
    return {
        "cpu_percent": float(cpu),
        "memory_percent": 100.0 * used / total if total else math.nan,
        "memory_used_mb": used / _MIB,
        "memory_total_mb": total / _MIB,
    }


def cgroup_memory(
    mount: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> tuple[int, int] | None:
    """Bytes used and allowed in the tightest memory cgroup of this process, or ``None`` if none has a limit.

    Page cache that the kernel can drop at once (``inactive_file``) does not count as used. Both versions of the
    cgroup file system are understood; ``mount`` is where they stand, ``membership`` lists this process's groups.
    """
    try:
        entries = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return None
    found: list[tuple[int, int]] = []
    for entry in entries:
        if len(entry) != 3:
            continue
        _, controllers, path = entry
        if not controllers:
            found += _limits(mount, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            usage = "memory.usage_in_bytes"
            found += _limits(mount / "memory", path, "memory.limit_in_bytes", usage, "total_inactive_file")
    return min(found, key=lambda pair: pair[1], default=None)


def _limits(root: Path, path: str, limit: str, usage: str, droppable: str) -> list[tuple[int, int]]:
    """Use and limit of each group from ``path`` up to ``root`` that has one."""
    found: list[tuple[int, int]] = []
    # In a container the path is often the host's, of which only the root is visible: what is missing is passed over.
    group = root / path.strip("/")
    for place in [group, *group.parents]:
        if not place.is_relative_to(root):
            break
        allowed = _number(place / limit)
        used = _number(place / usage)
        if allowed is not None and used is not None:
            found.append((max(0, used - _droppable(place / "memory.stat", droppable)), allowed))
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        # "max" stands for no limit.
        return None


def _droppable(file: Path, name: str) -> int:
    try:
        fields = dict(line.split(" ", 1) for line in file.read_text().splitlines())
        return int(fields.get(name, 0))
    except (OSError, ValueError):
        return 0


class Gpus:
    """The NVIDIA GPUs of this machine, through the driver's own library.

    The library is set up once, at the first sample. Where it is missing, or stops answering, it is looked for again
    after ``_RETRY_EVERY`` samples, so that a driver loaded or reset later is found.
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        self._wait = 0

    def sample(self) -> dict[str, float | None]:
        """The GPUs' figures, each ``None`` if no GPU tells it (a device split by MIG has no utilisation of its own)."""
        figures: dict[str, float | None] = dict.fromkeys(
            ("gpu_utilization", "gpu_memory_used_mb", "gpu_memory_total_mb", "gpu_temperature")
        )
        if self._nvml is None and not self._open():
            return figures
        nvml = self._nvml
        try:
            devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except Exception:  # noqa: BLE001 - the driver went away
            self._close()
            return figures
        loads = _each(devices, lambda device: nvml.nvmlDeviceGetUtilizationRates(device).gpu)
        used = _each(devices, lambda device: nvml.nvmlDeviceGetMemoryInfo(device).used)
        total = _each(devices, lambda device: nvml.nvmlDeviceGetMemoryInfo(device).total)
        heat = _each(devices, lambda device: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU))
        figures["gpu_utilization"] = sum(loads) / len(loads) if loads else None
        figures["gpu_memory_used_mb"] = sum(used) / _MIB if used else None
        figures["gpu_memory_total_mb"] = sum(total) / _MIB if total else None
        figures["gpu_temperature"] = max(heat, default=None)
        return figures

    def _open(self) -> bool:
        if self._wait:
            self._wait -= 1
            return False
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # noqa: BLE001 - no library, no driver, no device: all mean no GPU
            self._wait = _RETRY_EVERY
            return False
        self._nvml = pynvml
        return True

    def _close(self) -> None:
        nvml, self._nvml, self._wait = self._nvml, None, _RETRY_EVERY
        try:
            nvml.nvmlShutdown()
        except Exception:  # noqa: BLE001 - it is gone already
            return


def _each(devices: list[Any], ask: Any) -> list[float]:
    figures: list[float] = []
    for device in devices:
        try:
            figures.append(float(ask(device)))
        except Exception:  # noqa: BLE001, S112 - not every device tells everything
            continue
    return figures


_gpus = Gpus()
