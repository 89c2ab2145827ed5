"""Names of accelerators: what they mean, what is refused, and that text and value are the same thing."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import suppress

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from skyward.errors import ConfigurationError
from skyward.model.accelerator import Accelerator
from skyward.model.catalogue import catalogue, spellings


def everything() -> Iterator[Accelerator]:
    """One of each model, form, memory size and MIG profile of the catalogue."""
    for model in catalogue().models.values():
        for form in (None, *model.forms):
            for memory in model.sizes(form):
                for mig in (None, *model.mig.get(memory, {})):
                    yield Accelerator(model.named(form), memory=memory, mig=mig)


anything = st.builds(evolve, st.sampled_from(list(everything())), count=st.integers(1, 10_000))


def refusal(text: object, **parameters: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        if parameters:
            Accelerator(text, **parameters)  # type: ignore[arg-type]
        else:
            Accelerator.parse(text)  # type: ignore[arg-type]
    return str(caught.value)


@given(anything)
def test_the_text_of_an_accelerator_parses_back_to_it(accelerator: Accelerator) -> None:
    assert Accelerator.parse(str(accelerator)) == accelerator
    assert str(Accelerator.parse(str(accelerator))) == str(accelerator)


@given(anything, st.sampled_from([str.lower, str.upper, str.title, str.swapcase]), st.sampled_from(["_", " ", "  "]))
def test_case_and_separators_of_a_name_do_not_matter(accelerator: Accelerator, case: object, gap: str) -> None:
    text = str(accelerator).replace("-", gap)
    assert Accelerator.parse(f" {case(text)} ") == accelerator  # type: ignore[operator]


@given(anything)
def test_a_value_equals_hashes_and_pickles_as_what_it_means(accelerator: Accelerator) -> None:
    again = Accelerator(accelerator.name, accelerator.count, accelerator.memory, accelerator.mig)
    assert (again, hash(again)) == (accelerator, hash(accelerator))
    assert pickle.loads(pickle.dumps(accelerator)) == accelerator
    assert Accelerator.parse(accelerator) is accelerator


@given(anything)
def test_workers_are_devices_times_slots_and_share_no_more_memory_than_there_is(accelerator: Accelerator) -> None:
    assert accelerator.worker_count == accelerator.count * accelerator.slots_per_device
    # NVIDIA rounds the memory in a profile's name up to whole GB.
    assert 0 < (accelerator.worker_memory_gb - 1) * accelerator.slots_per_device < accelerator.memory_gb
    if accelerator.mig is None:
        assert accelerator.slots_per_device == 1


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_configuration_error(text: str) -> None:
    with suppress(ConfigurationError):
        accelerator = Accelerator.parse(text)
        assert Accelerator.parse(str(accelerator)) == accelerator


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("A100", "A100-80GB"),
        ("A100-80GB", "A100-80GB"),
        ("H100:4", "H100-80GB:4"),
        ("A100-40GB:8", "A100-40GB:8"),
        ("h100-sxm", "H100-SXM"),
        ("H100-PCIe", "H100-PCIe"),
        ("H100-NVL", "H100-NVL"),
        ("H100-80GB", "H100-80GB"),
        ("H100 : 2", "H100-80GB:2"),
        ("V100", "V100-16GB"),
        ("rtx4090", "RTX-4090"),
        ("RTX 3090 Ti", "RTX-3090-Ti"),
        ("RTX 6000 Ada", "RTX-6000-Ada"),
        ("Trainium2", "Trainium2"),
        ("trn1", "Trainium1"),
        ("Trainium", "Trainium1"),
        ("inf2", "Inferentia2"),
        ("MI300X", "MI300X"),
        ("MI 250", "MI250"),
        ("TPU-v5p", "TPU-v5p"),
        ("v5p-8", "TPU-v5p:4"),
        ("v4-8", "TPU-v4:4"),
        ("v6e-8", "TPU-v6e:8"),
        ("v5litepod-16", "TPU-v5e:16"),
        ("TPU v5 lite", "TPU-v5e"),
        ("A100-MIG-1g.5gb", "A100-40GB-MIG-1g.5gb"),
        ("H100-3g.40gb:2", "H100-80GB-MIG-3g.40gb:2"),
    ],
)
def test_short_names_are_read(text: str, canonical: str) -> None:
    assert str(Accelerator.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("NVIDIA A100", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100-SXM-40GB-MIG-1g.5gb"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "H100-SXM-MIG-1g.10gb"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200 NVL", "H200-NVL"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("B200 SXM6 180GB", "B200-SXM"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("RTX_3090", "RTX-3090"),
        ("NVIDIA RTX A6000", "A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("RTX PRO 4500", "RTX-PRO-4500"),  # as EC2 says of G7
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100-SXM-16GB"),
        ("Tesla P100-PCIE-16GB", "P100-PCIe-16GB"),
        ("AMD Instinct MI300X", "MI300X"),
        ("AWS Trainium2", "Trainium2"),
        ("Google TPU v4", "TPU-v4"),
    ],
)
def test_full_names_are_read_as_vendors_and_drivers_write_them(text: str, canonical: str) -> None:
    assert str(Accelerator.parse(text)) == canonical


def test_a_bare_name_takes_the_default_memory_and_the_vendor() -> None:
    assert Accelerator("h100") == Accelerator(name="H100", count=1, memory="80GB", mig=None, vendor="NVIDIA")
    assert Accelerator("A100").memory_gb == 80.0
    assert Accelerator("MI300X").vendor == "AMD"


@pytest.mark.parametrize("memory", ["40GB", "40gb", " 40 GB ", "0.04TB"])
def test_memory_may_be_written_in_any_way(memory: str) -> None:
    assert Accelerator("A100", memory=memory) == Accelerator.parse("A100-40GB")


@pytest.mark.parametrize(
    ("memory", "table"),
    [
        ("80GB", {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "4g.40gb": 1, "7g.80gb": 1}),
        ("40GB", {"1g.5gb": 7, "2g.10gb": 3, "3g.20gb": 2, "4g.20gb": 1}),
    ],
)
def test_mig_profiles_of_the_a100_give_the_documented_number_of_workers(memory: str, table: dict[str, int]) -> None:
    for profile, workers in table.items():
        accelerator = Accelerator("A100", count=2, memory=memory, mig=profile)
        assert (accelerator.slots_per_device, accelerator.worker_count) == (workers, 2 * workers)
        assert f"{accelerator.worker_memory_gb:g}gb" == profile.partition(".")[2]
    assert set(catalogue().models["A100"].mig[memory]) == set(table)


def test_the_h100_of_80gb_has_the_profiles_of_the_a100_of_80gb() -> None:
    models = catalogue().models
    assert models["H100"].mig["80GB"] == models["A100"].mig["80GB"]


def test_a_profile_decides_the_memory_that_was_left_open() -> None:
    assert Accelerator("A100", mig="2g.10gb").memory == "40GB"
    assert Accelerator("H100-NVL", mig="3G.47GB").mig == "3g.47gb"


@pytest.mark.parametrize(
    ("text", "near"),
    [("H1O0", "H100"), ("A10O", "A100"), ("Trainum2", "Trainium2"), ("MI300", "MI300X"), ("RTX 6000", "RTX-6000-Ada")],
)
def test_a_wrong_name_is_refused_with_the_near_matches_and_the_models(text: str, near: str) -> None:
    message = refusal(text)
    assert f"'{text}'" in message
    assert f"'{near}'" in message.partition("did you mean")[2].partition("?")[0]
    assert all(name in message for name in catalogue().names())


@pytest.mark.parametrize(
    "text", ["", "  ", "NVIDIA", "A1-00", "L4-0", "H100-SXM-NVL", "H100-80GB-94GB", "zzzz", "16GB"]
)
def test_what_names_no_model_is_refused_with_the_models(text: str) -> None:
    assert "Known models: NVIDIA: " in refusal(text)


def test_a_wrong_memory_is_refused_with_the_sizes_and_the_nearest() -> None:
    assert refusal("A100-60GB") == "A100 comes with 80GB or 40GB, not with 60GB; write 'A100-80GB'"
    assert refusal("T4-24GB") == "T4 comes with 16GB, not with 24GB; write 'T4'"
    assert "write 'H100-NVL'" in refusal("H100-NVL", memory="80GB")


def test_a_wrong_profile_is_refused_with_the_near_matches_and_the_valid_ones() -> None:
    message = refusal("H100", mig="3g.41gb")
    assert "did you mean '3g.40gb'" in message
    assert "Profiles: 1g.10gb, 1g.20gb, 2g.20gb, 3g.40gb, 4g.40gb, 7g.80gb" in message


def test_a_profile_of_another_memory_size_says_which() -> None:
    assert "'1g.5gb' is a profile of A100-40GB" in refusal("A100-80GB", mig="1g.5gb")


def test_a_profile_on_a_model_without_mig_lists_the_models_that_have_it() -> None:
    message = refusal("T4", mig="1g.5gb")
    assert "leave mig out" in message
    assert "A100-40GB" in message


@pytest.mark.parametrize("form", ["T4-SXM", "V100-NVL"])
def test_a_form_that_is_not_made_is_refused(form: str) -> None:
    assert "does not come as" in refusal(form)


@pytest.mark.parametrize("count", [0, -1, True, False, 1.0, "2", None])
def test_a_count_that_is_no_whole_number_from_one_up_is_refused(count: object) -> None:
    assert f"not {count!r}" in refusal("T4", count=count)


@pytest.mark.parametrize("text", ["T4:0", "T4:", "T4:-1", "T4:two", "T4:1.5", "T4:2:2", "T4:²"])
def test_a_count_in_text_that_is_none_is_refused(text: str) -> None:
    assert "such as 'T4:4'" in refusal(text)


@pytest.mark.parametrize(
    ("text", "parameters", "said"),
    [
        ("A100-40GB", {"memory": "80GB"}, "contradict"),
        ("A100-MIG-1g.5gb", {"mig": "2g.10gb"}, "contradict"),
        ("H100:4", {"count": 4}, "Accelerator.parse('H100:4')"),
        ("H100", {"vendor": "AMD"}, "made by NVIDIA"),
        ("H100", {"mig": 3}, "mig must be"),
        ("H100", {"memory": "much"}, "not an amount of memory"),
    ],
)
def test_parameters_that_contradict_the_name_are_refused(text: str, parameters: dict[str, object], said: str) -> None:
    assert said in refusal(text, **parameters)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("AMD H100", "drop 'AMD'"),
        ("v7p-8", "did you mean 'v5p'"),
        ("v5p-7", "2 to a chip"),
        ("v5p-0", "write for example 'v5p-8'"),
        ("v6e-512", "up to 256"),
        ("v5p-8:2", "counts twice"),
        ("H100-MIG", "names no MIG profile"),
        (3, "not by int"),
        (None, "not by NoneType"),
    ],
)
def test_other_mistakes_are_refused_with_their_remedy(text: object, said: str) -> None:
    assert said in refusal(text)


def test_an_accelerator_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Accelerator("T4").count = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("has", "wanted", "verdict"),
    [
        ("A100-80GB", "A100-80GB", True),
        ("A100-80GB", "A100-40GB", True),
        ("A100-40GB", "A100", False),
        ("A100:8", "A100:4", True),
        ("A100:2", "A100:4", False),
        ("H100-SXM", "H100", True),
        ("H100", "H100-SXM", False),
        ("H100-PCIe", "H100-SXM", False),
        ("H100-NVL", "H100", True),
        ("A100", "H100", False),
        ("A100-40GB", "A100-MIG-1g.5gb", True),
        ("A100-80GB", "A100-MIG-1g.5gb", False),
        ("A100-MIG-1g.5gb", "A100-MIG-1g.5gb", True),
        ("A100-MIG-1g.5gb", "A100-40GB", False),
        ("A100-MIG-1g.5gb", "A100-MIG-2g.10gb", False),
    ],
)
def test_a_machine_satisfies_a_request_for_the_same_model_with_no_more(has: str, wanted: str, verdict: bool) -> None:
    assert Accelerator.parse(has).satisfies(Accelerator.parse(wanted)) is verdict


@given(anything, st.integers(1, 100))
def test_more_of_the_same_device_still_satisfies(accelerator: Accelerator, more: int) -> None:
    assert accelerator.with_count(accelerator.count + more).satisfies(accelerator)
    assert not accelerator.satisfies(accelerator.with_count(accelerator.count + more))


def test_every_alias_and_spelling_in_the_catalogue_leads_to_a_known_name() -> None:
    known = catalogue()
    canonical = {name for model in known.models.values() for name in model.names()}
    assert set(known.index.values()) <= canonical
    for spelling in known.index:
        Accelerator.parse(spelling)


def test_no_spelling_means_two_models() -> None:
    known = catalogue()
    for name in known.models:
        assert {known.index[spelling] for spelling in spellings(name)} == {name}


def test_the_catalogue_is_consistent() -> None:
    for model in catalogue().models.values():
        assert set(model.mig) <= set(model.memory), f"{model.name}: MIG for a size that is not made"
        for form, sizes in model.forms.items():
            assert set(sizes) <= set(model.memory), f"{model.name}-{form}: a size that the model lacks"


def test_the_well_known_models_are_there() -> None:
    wanted = (
        "RTX-3090 RTX-4090 RTX-5090 A4000 A5000 A6000 RTX-6000-Ada L4 P100 K80 H100-SXM H100-PCIe H100-NVL MI250 "
        "MI300X MI325X Trainium1 Trainium2 Inferentia1 Inferentia2 TPU-v4 TPU-v5e TPU-v5p TPU-v6e"
    )
    for name in wanted.split():
        assert Accelerator(name).name == name
