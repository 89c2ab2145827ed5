"""What a pool does with ``plugins=``, and with volumes that its provider cannot mount."""

from __future__ import annotations

import sys
import types

import pytest

import skyward as sky
from skyward.worker.devices import mig_partitions


@sky.compute
def shout(text: str) -> str:
    return text.upper()


def politely(function: sky.ComputeFunction[..., str]) -> sky.ComputeFunction[..., str]:
    inner = function.fn

    def asked(*args: str) -> str:
        return f"please, {inner(*args)}"

    return sky.ComputeFunction(asked)


def twice(function: sky.ComputeFunction[..., str]) -> sky.ComputeFunction[..., str]:
    inner = function.fn

    def doubled(*args: str) -> str:
        return " ".join([inner(*args)] * 2)

    return sky.ComputeFunction(doubled)


def test_each_plugin_of_a_pool_is_put_around_every_function_in_the_order_given() -> None:
    with sky.ComputePool(plugins=[twice, politely], display="quiet") as pool:
        assert shout("hush") >> pool == "please, HUSH HUSH"
        assert shout("hush") >> pool == "please, HUSH HUSH"


def test_a_plugin_that_cannot_be_applied_is_refused_before_anything_starts() -> None:
    with pytest.raises(sky.ConfigurationError, match=r"plugins has 'torch'; give integrations"):
        sky.ComputePool(plugins=["torch"])  # type: ignore[list-item]


def test_a_volume_that_the_provider_cannot_mount_is_refused_before_anything_starts() -> None:
    volume = sky.S3Volume(mount_path="/data", bucket="my-bucket")
    with pytest.raises(sky.ConfigurationError, match="Local cannot mount volumes"):
        sky.ComputePool(volume=[volume])


class _Nvml(types.ModuleType):
    """As much of ``pynvml`` as there is on a machine with two GPUs, the second one in two MIG partitions."""

    class NVMLError(Exception): ...

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMaxMigDeviceCount(self, device: int) -> int:
        if device == 0:
            raise self.NVMLError
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: int, part: int) -> tuple[int, int]:
        if part > 1:
            raise self.NVMLError
        return device, part

    def nvmlDeviceGetUUID(self, handle: tuple[int, int]) -> str:
        return f"MIG-{handle[0]}-{handle[1]}"


def test_partitions_are_named_as_cuda_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _Nvml("pynvml"))
    assert mig_partitions() == ["MIG-1-0", "MIG-1-1"]


def test_a_machine_without_the_vendors_library_has_no_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert mig_partitions() == []
