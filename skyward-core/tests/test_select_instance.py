from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._select_instance import select_instance
from skyward.errors import ConfigurationError
from skyward.model.accelerator import Accelerator
from skyward.model.machine import MachineType

SMALL = MachineType("small", 2, 8.0)
LARGE = MachineType("large", 16, 64.0)
ONE_T4 = MachineType("t4", 4, 16.0, "T4")
FOUR_T4 = MachineType("t4x4", 48, 192.0, "T4:4")
A100_40 = MachineType("a100-40", 96, 1152.0, "A100-SXM-40GB:8")
A100_80 = MachineType("a100-80", 96, 1152.0, "A100-SXM-80GB:8")
ALL = [A100_80, FOUR_T4, LARGE, A100_40, ONE_T4, SMALL]

amounts = st.sampled_from([1, 2, 4, 8, 16, 64])
devices = st.sampled_from([None, "T4", "T4:4", "A100-40GB", "A100-80GB:2", "H100-SXM", "Trainium2:16"])
machines = st.builds(MachineType, st.text("abc", min_size=1, max_size=3), amounts, amounts, devices)


@pytest.mark.parametrize(
    ("wanted", "machine"),
    [
        ({}, SMALL),
        ({"cpu": 4}, LARGE),
        ({"memory": "9GB"}, LARGE),
        ({"cpu": 17}, FOUR_T4),
        ({"accelerator": "T4"}, ONE_T4),
        ({"accelerator": "T4:2"}, FOUR_T4),
        ({"accelerator": "T4", "memory": "128GB"}, FOUR_T4),
        ({"accelerator": Accelerator("A100")}, A100_80),
        ({"accelerator": "A100-40GB"}, A100_40),
        ({"accelerator": "A100-MIG-1g.5gb"}, A100_40),
    ],
)
def test_the_smallest_machine_that_fits_is_chosen(wanted: dict[str, object], machine: MachineType) -> None:
    assert select_instance(ALL, **wanted) is machine  # type: ignore[arg-type]


@given(st.lists(machines, max_size=8), devices, st.none() | amounts, st.none() | amounts)
def test_a_choice_fits_and_none_that_fits_is_smaller(
    offered: list[MachineType], accelerator: str | None, cpu: int | None, gb: int | None
) -> None:
    want = None if accelerator is None else Accelerator.parse(accelerator)

    def fits(m: MachineType) -> bool:
        enough = m.vcpu >= (cpu or 0) and m.memory_gb >= (gb or 0)
        return enough and (want is None or (m.accelerator is not None and m.accelerator.satisfies(want)))

    try:
        chosen = select_instance(offered, accelerator=accelerator, cpu=cpu, memory=None if gb is None else f"{gb}GB")
    except ConfigurationError:
        assert not any(map(fits, offered))
        return
    assert fits(chosen)
    for other in filter(fits, offered):
        assert (chosen.accelerator_count, chosen.vcpu, chosen.memory_gb) <= (
            other.accelerator_count,
            other.vcpu,
            64,
        ) or (
            chosen.accelerator is not None
            and other.accelerator is not None
            and chosen.accelerator.memory_gb < other.accelerator.memory_gb
        )


@given(st.permutations(ALL))
def test_the_order_of_the_machines_does_not_matter(offered: list[MachineType]) -> None:
    assert select_instance(offered, cpu=4, accelerator="T4") is ONE_T4


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        (
            {"accelerator": "A100-80GB:16"},
            "a100-80 (96 vCPU, 1152 GB, A100-SXM-80GB:8), which lacks accelerator A100-80GB:16",
        ),
        ({"accelerator": "H100"}, "t4 (4 vCPU, 16 GB, T4), which lacks accelerator H100-80GB"),
        ({"cpu": 100, "memory": "2TB"}, "which lacks 100 vCPU and 2000 GB"),
        ({"accelerator": "T4", "cpu": 64}, "t4x4 (48 vCPU, 192 GB, T4:4), which lacks 64 vCPU"),
    ],
)
def test_no_fit_is_refused_with_the_nearest_machine_and_what_it_lacks(wanted: dict[str, object], nearest: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        select_instance(ALL, **wanted)  # type: ignore[arg-type]
    assert str(caught.value).startswith("none of 6 machines has ")
    assert nearest in str(caught.value)


def test_a_machine_without_the_right_memory_variant_is_nearer_than_another_model() -> None:
    with pytest.raises(ConfigurationError, match=r"nearest is a100-40 .* lacks accelerator A100-80GB"):
        select_instance([ONE_T4, A100_40, SMALL], accelerator="A100")


def test_no_machines_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no machines to choose from"):
        select_instance([], cpu=1)


def test_objects_of_other_classes_serve_and_come_back_as_they_are() -> None:
    mine = SimpleNamespace(instance_type="mine", vcpu=8, memory_gb=32, accelerator="L4", accelerator_count=2)
    assert select_instance([mine], accelerator="L4:2") is mine


def test_a_machine_with_an_unknown_device_is_passed_over() -> None:
    odd = SimpleNamespace(instance_type="odd", vcpu=1, memory_gb=1, accelerator="Z9000", accelerator_count=1)
    plain = SimpleNamespace(instance_type="plain", vcpu=2, memory_gb=2, accelerator=None, accelerator_count=0)
    assert select_instance([odd, plain]) is plain


@pytest.mark.parametrize("cpu", [0, -1, True, "4", float("nan"), float("inf")])
def test_a_cpu_that_is_no_number_above_zero_is_refused(cpu: object) -> None:
    with pytest.raises(ConfigurationError, match="cpu must be a number of virtual CPUs above 0"):
        select_instance(ALL, cpu=cpu)  # type: ignore[arg-type]


def test_a_wrong_accelerator_or_memory_is_refused_as_such() -> None:
    with pytest.raises(ConfigurationError, match="unknown accelerator"):
        select_instance(ALL, accelerator="Z9000")
    with pytest.raises(ConfigurationError, match="has no unit"):
        select_instance(ALL, memory="128")


def test_a_machine_type_says_what_it_has() -> None:
    machine = MachineType("x", 4, 16, "T4:2", architecture="arm64", price_on_demand=1.0, price_spot=0.0)
    assert (machine.instance_type, machine.accelerator, machine.accelerator_count) == ("x", Accelerator("T4", 2), 2)
    assert MachineType("y", 0.5, 1).accelerator_count == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"vcpu": 0}, "vcpu of x must be more than 0"),
        ({"vcpu": True}, "vcpu of x must be more than 0"),
        ({"memory_gb": -1.0}, "memory_gb of x must be more than 0"),
        ({"memory_gb": "16GB"}, "memory_gb of x must be more than 0"),
        ({"architecture": "riscv"}, "must be 'x86_64' or 'arm64'"),
        ({"price_spot": -0.1}, "price_spot of x must be 0 or more"),
        ({"price_on_demand": float("nan")}, "use None for an unknown price"),
    ],
)
def test_a_machine_type_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MachineType(**{"name": "x", "vcpu": 1, "memory_gb": 1.0, **wrong})  # type: ignore[arg-type]
    assert said in str(caught.value)
