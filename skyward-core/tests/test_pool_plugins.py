"""What a pool does with ``plugins=``, and with volumes that its provider cannot mount."""

from __future__ import annotations

import sys
import types
from typing import Any

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


class Loud:
    """An integration with settings, and a factory of another one of its kind."""

    def __init__(self, mark: str = "!") -> None:
        self.mark = mark

    def __call__(self, function: Any = None, /, *, mark: str = "?") -> Any:
        if function is None:
            return Loud(mark)
        inner, mark = function.fn, self.mark
        return sky.ComputeFunction(lambda *args: f"{inner(*args)}{mark}")


def loud(function: Any = None, *, mark: str = ".") -> Any:
    """A factory that decorates as well when it is given a function."""
    return Loud(mark) if function is None else Loud(mark)(function)


def given_to_a_pool(plugin: Any) -> str:
    options = sky.ComputePool(plugins=[plugin])._pool_options
    applied: str = options.plugins[0](shout).fn("hush")
    return applied


@pytest.mark.parametrize(
    ("plugin", "gives"),
    [
        (loud, "HUSH."),
        (loud(mark="!!"), "HUSH!!"),  # an object that makes others of its kind is not asked for one: it has settings
        (Loud("!!!"), "HUSH!!!"),
        (politely, "please, HUSH"),
        (lambda *functions: politely(*functions), "please, HUSH"),
        (sky.compute, "HUSH"),
    ],
    ids=["uncalled", "called", "object", "decorator", "any arguments", "compute"],
)
def test_what_makes_an_integration_may_be_given_uncalled(plugin: Any, gives: str) -> None:
    assert given_to_a_pool(plugin) == gives


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        ("torch", r"plugins has 'torch'; give integrations"),
        (Loud, r"plugins has the class Loud; call it: Loud\(\)"),
        (lambda: None, r"plugins has <function .*, which makes None; give integrations, which can be called"),
    ],
)
def test_a_plugin_that_cannot_be_applied_is_refused_before_anything_starts(plugin: Any, says: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=says):
        sky.ComputePool(plugins=[plugin])


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
