"""A node's figures: there whenever they can be had, and never a reason to fail."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from skyward.worker import metrics

FIELDS = {
    "cpu_percent",
    "memory_percent",
    "memory_used_mb",
    "memory_total_mb",
    "gpu_utilization",
    "gpu_memory_used_mb",
    "gpu_memory_total_mb",
    "gpu_temperature",
}


class FakeNvml(ModuleType):
    """A driver with two GPUs, of which the second is split by MIG and tells no utilisation."""

    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.starts = 0
        self.stops = 0
        self.lost = False

    def nvmlInit(self) -> None:
        self.starts += 1
        self._check()

    def nvmlShutdown(self) -> None:
        self.stops += 1

    def nvmlDeviceGetCount(self) -> int:
        self._check()
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:
        if device:
            raise RuntimeError("not supported")
        return SimpleNamespace(gpu=40)

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:
        return SimpleNamespace(used=(device + 1) << 20, total=100 << 20)

    def nvmlDeviceGetTemperature(self, device: int, kind: int) -> int:
        return 50 + device

    def _check(self) -> None:
        if self.lost:
            raise RuntimeError("driver not loaded")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_a_sample_has_the_fields_of_a_metrics_event() -> None:
    figures = metrics.sample()
    assert set(figures) == FIELDS
    assert all(isinstance(figures[name], float) for name in FIELDS if not name.startswith("gpu_"))
    total, used, percent = figures["memory_total_mb"], figures["memory_used_mb"], figures["memory_percent"]
    assert total is not None
    assert used is not None
    assert percent is not None
    assert 0 < used <= total
    assert percent == pytest.approx(100 * used / total)


@pytest.mark.parametrize(("primed", "interval"), [(True, None), (False, 0.05)])
def test_the_first_processor_figure_covers_some_time(
    monkeypatch: pytest.MonkeyPatch, primed: bool, interval: float | None
) -> None:
    asked: list[float | None] = []

    def cpu_percent(interval: float | None = None) -> float:
        asked.append(interval)
        return 12.0

    monkeypatch.setattr(psutil, "cpu_percent", cpu_percent)
    monkeypatch.setattr(metrics, "_primed", False)
    if primed:
        metrics.prime()
        asked.clear()
    assert metrics.sample()["cpu_percent"] == 12.0
    assert asked[0] == interval
    asked.clear()
    metrics.sample()
    assert asked == [None]


def test_without_psutil_the_figures_are_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    metrics.prime()
    figures = metrics.sample()
    assert set(figures) == FIELDS
    assert all(math.isnan(figures[name] or 0) for name in FIELDS if not name.startswith("gpu_"))


def test_without_a_driver_the_gpu_figures_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert set(metrics.Gpus().sample().values()) == {None}


def test_gpus_are_summed_averaged_and_the_hottest_taken(nvml: FakeNvml) -> None:
    gpus = metrics.Gpus()
    expected = {
        "gpu_utilization": 40.0,
        "gpu_memory_used_mb": 3.0,
        "gpu_memory_total_mb": 200.0,
        "gpu_temperature": 51.0,
    }
    assert gpus.sample() == expected
    assert gpus.sample() == expected
    assert nvml.starts == 1


def test_a_driver_that_goes_and_comes_back_is_found_again(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_RETRY_EVERY", 2)
    gpus = metrics.Gpus()
    assert gpus.sample()["gpu_utilization"] == 40.0
    nvml.lost = True
    assert gpus.sample()["gpu_utilization"] is None
    nvml.lost = False
    assert [gpus.sample()["gpu_utilization"] for _ in range(3)] == [None, None, 40.0]
    assert (nvml.starts, nvml.stops) == (2, 1)


def group(place: Path, **files: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)


def test_the_tightest_limit_of_cgroups_version_two_counts(tmp_path: Path) -> None:
    mount, membership = tmp_path / "cgroup", tmp_path / "self"
    membership.write_text("0::/outer/inner\n")
    group(mount / "outer", memory__max="1000\n", memory__current="600\n", memory__stat="anon 1\ninactive_file 100\n")
    group(mount / "outer" / "inner", memory__max="max\n", memory__current="500\n")
    assert metrics.cgroup_memory(mount, membership) == (500, 1000)


def test_the_limit_of_cgroups_version_one_is_understood(tmp_path: Path) -> None:
    mount, membership = tmp_path / "cgroup", tmp_path / "self"
    membership.write_text("9:cpu,cpuacct:/docker/x\n4:memory:/docker/x\nodd\n")
    group(mount / "memory", memory__limit_in_bytes="2000", memory__usage_in_bytes="700")
    group(mount / "memory", memory__stat="total_inactive_file 50")
    assert metrics.cgroup_memory(mount, membership) == (650, 2000)


def test_without_cgroups_there_is_no_limit(tmp_path: Path) -> None:
    assert metrics.cgroup_memory(tmp_path, tmp_path / "missing") is None
    (tmp_path / "self").write_text("0::/\n")
    assert metrics.cgroup_memory(tmp_path, tmp_path / "self") is None


def test_a_lower_cgroup_limit_takes_the_place_of_the_machine_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "cgroup_memory", lambda: (1 << 20, 4 << 20))
    figures = metrics.sample()
    assert (figures["memory_used_mb"], figures["memory_total_mb"], figures["memory_percent"]) == (1.0, 4.0, 25.0)
    monkeypatch.setattr(metrics, "cgroup_memory", lambda: (1, 1 << 62))
    assert metrics.sample()["memory_total_mb"] == psutil.virtual_memory().total / 2**20
