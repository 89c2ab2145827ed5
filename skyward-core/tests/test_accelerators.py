"""The factories: ``accelerators.T4()``, ``AcceleratorSpec.NVIDIA.T4()``, and the questions about vendors."""

from __future__ import annotations

import inspect
from typing import get_args, get_type_hints

import pytest

from skyward.errors import ConfigurationError
from skyward.model import accelerators
from skyward.model.accelerator import Accelerator
from skyward.model.accelerator_spec import AcceleratorSpec
from skyward.model.catalogue import catalogue
from skyward.model.vendor import is_nvidia, is_trainium

VENDORS = {name: vars(getattr(AcceleratorSpec, name)) for name in ("NVIDIA", "AMD", "AWS", "Google")}


def public(namespace: dict[str, object]) -> set[str]:
    return {name for name in namespace if not name.startswith("_")}


def test_every_nvidia_model_of_the_catalogue_has_a_factory_of_its_name() -> None:
    for name in catalogue().names("NVIDIA"):
        made = getattr(accelerators, name.replace("-", "_"))()
        assert made == Accelerator(name)


def test_accelerator_spec_has_the_same_factories_by_vendor() -> None:
    assert set().union(*(public(namespace) for namespace in VENDORS.values())) == set(accelerators.__all__)
    for vendor, namespace in VENDORS.items():
        for name in public(namespace):
            assert getattr(getattr(AcceleratorSpec, vendor), name) is getattr(accelerators, name)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (AcceleratorSpec.NVIDIA.H100(), "H100-80GB"),
        (AcceleratorSpec.NVIDIA.H100(count=4), "H100-80GB:4"),
        (AcceleratorSpec.NVIDIA.H100(mig="3g.40gb"), "H100-80GB-MIG-3g.40gb"),
        (AcceleratorSpec.NVIDIA.H100(form="SXM"), "H100-SXM"),
        (AcceleratorSpec.NVIDIA.A100(memory="40GB"), "A100-40GB"),
        (AcceleratorSpec.NVIDIA.A100(2, "40GB", "1g.5gb"), "A100-40GB-MIG-1g.5gb:2"),
        (AcceleratorSpec.NVIDIA.V100(memory="32GB"), "V100-32GB"),
        (AcceleratorSpec.NVIDIA.T4(), "T4"),
        (accelerators.T4(count=2), "T4:2"),
        (accelerators.H200(mig="1g.18gb"), "H200-MIG-1g.18gb"),
        (accelerators.A30(mig="1g.6gb"), "A30-MIG-1g.6gb"),
        (AcceleratorSpec.AWS.Trainium(version=2), "Trainium2"),
        (AcceleratorSpec.AWS.Inferentia(version=2), "Inferentia2"),
        (AcceleratorSpec.Google.TPU(version="v5p"), "TPU-v5p"),
        (AcceleratorSpec.Google.TPUSlice("v5p-8"), "TPU-v5p:4"),
        (AcceleratorSpec.AMD.MI("300X"), "MI300X"),
        (AcceleratorSpec.AMD.MI("300X", count=8), "MI300X:8"),
    ],
)
def test_a_factory_returns_what_the_name_parses_to(made: Accelerator, text: str) -> None:
    assert made == Accelerator.parse(text)
    assert str(made) == text


@pytest.mark.parametrize(
    ("name", "memory"),
    [
        ("H100", 80), ("H200", 141), ("A100", 80), ("B100", 192), ("B200", 192), ("GB200", 384), ("GH200", 96),
        ("L4", 24), ("L40", 48), ("L40S", 48), ("T4", 16), ("A10", 24), ("A10G", 24), ("V100", 16),
    ],
)  # fmt: skip
def test_the_documented_models_have_the_documented_memory_by_default(name: str, memory: float) -> None:
    assert getattr(accelerators, name)().memory_gb == memory


@pytest.mark.parametrize(("factory", "model"), [("H100", "H100"), ("H200", "H200"), ("A100", "A100"), ("A30", "A30")])
def test_the_types_of_a_factory_list_exactly_the_profiles_of_the_catalogue(factory: str, model: str) -> None:
    alias = next(
        arg for arg in get_args(get_type_hints(getattr(accelerators, factory))["mig"]) if arg is not type(None)
    )
    known = {profile for table in catalogue().models[model].mig.values() for profile in table}
    assert set(get_args(alias.__value__)) == known


@pytest.mark.parametrize("factory", ["H100", "A100", "V100"])
def test_the_types_of_a_factory_list_exactly_the_sizes_and_forms_of_the_catalogue(factory: str) -> None:
    hints = get_type_hints(getattr(accelerators, factory))
    model = catalogue().models[factory]
    assert set(get_args(get_args(hints["memory"])[0])) == set(model.memory)
    if "form" in hints:
        assert set(get_args(get_args(hints["form"])[0])) == set(model.forms)


def test_the_types_list_exactly_the_amd_google_and_aws_models_of_the_catalogue() -> None:
    assert {f"MI{name}" for name in get_args(accelerators.MIName.__value__)} == set(catalogue().names("AMD"))
    assert {f"TPU-{name}" for name in get_args(accelerators.TPUVersion.__value__)} == set(catalogue().names("Google"))
    chips = {
        f"{factory.__name__}{version}"
        for factory in (accelerators.Trainium, accelerators.Inferentia)
        for version in get_args(get_type_hints(factory)["version"])
    }
    assert chips == set(catalogue().names("AWS"))


@pytest.mark.parametrize("name", ["v5p", "TPU-v5p", "TPU-v5p:4", "H100-SXM", "v5p-7"])
def test_what_is_no_slice_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="slice"):
        accelerators.TPUSlice(name)


def test_a_wrong_version_or_count_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'Trainium3'"):
        accelerators.Trainium(version=9)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="count must be"):
        accelerators.T4(0)
    with pytest.raises(ConfigurationError, match="name must be a string"):
        accelerators.MI(300)  # type: ignore[arg-type]


def test_factories_show_what_they_take() -> None:
    assert repr(accelerators.T4) == "<T4(count=1) -> Accelerator>"
    assert list(inspect.signature(accelerators.T4).parameters) == ["count"]


@pytest.mark.parametrize("name", ["H100", "A100-40GB:8", "NVIDIA RTX A6000", accelerators.T4()])
def test_is_nvidia_knows_nvidias_own(name: str | Accelerator) -> None:
    assert is_nvidia(name)
    assert not is_trainium(name)


@pytest.mark.parametrize("name", ["Trainium2", "trn1", accelerators.Trainium(3)])
def test_is_trainium_knows_every_generation(name: str | Accelerator) -> None:
    assert is_trainium(name)
    assert not is_nvidia(name)


@pytest.mark.parametrize("name", ["MI300X", "Inferentia2", "TPU-v5p", None, "a device of the year 2040"])
def test_others_and_nothing_are_neither(name: str | None) -> None:
    assert not is_nvidia(name)
    assert not is_trainium(name)
