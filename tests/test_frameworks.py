"""The versions of frameworks that the tests have are named once, agree with the packages, and are held to."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from frameworks import FRAMEWORKS, VERSIONS, constraints, lacks, needs, pinned, versions
from packaging.requirements import Requirement
from packaging.version import Version

import skyward as sky
from skyward._supplying import supplied
from skyward.spi import ComputeSpec, Supplying
from skyward_jax import jax
from skyward_keras import keras
from skyward_tensorflow import tensorflow
from skyward_torch import torch
from skyward_transformers import transformers

FOLDER = Path(__file__).parent / "frameworks"
SUPPLYING: list[Supplying] = [jax, keras, tensorflow, torch, transformers]


@pytest.mark.parametrize("integration", SUPPLYING, ids=lambda each: type(each).__name__)
def test_what_an_integration_asks_for_is_what_was_tried_and_the_tests_have_a_later_one(integration: Supplying) -> None:
    oldest, newest = versions(FOLDER / "oldest.txt"), versions(FOLDER / "versions.txt")
    asked = [Requirement(each) for each in integration.supplies(ComputeSpec(nodes=1, image=sky.Image())).pip]
    bounded = {each.name: str(each.specifier).removeprefix(">=") for each in asked if each.specifier}
    assert bounded
    for name, bound in bounded.items():
        assert Version(oldest[name]) == Version(bound), name
        assert Version(newest[name]) > Version(bound), name


@pytest.mark.parametrize(
    "two", [*itertools.combinations(SUPPLYING, 2)], ids=lambda two: "-".join(type(each).__name__ for each in two)
)
def test_two_integrations_are_for_one_pool_and_one_function_if_they_form_the_same_group(two: Any) -> None:
    def train() -> None: ...

    one, other = two
    pool = sky.ComputePool(plugins=list(two), display="quiet")
    if two in [(jax, keras), (torch, transformers)]:
        assert asyncio.run(supplied(pool._pool_options)).spec.image.pip
        assert one(other(train)).together
        assert other(one(train)).together
        return
    with pytest.raises(sky.ConfigurationError, match="would each form a group around a function"):
        asyncio.run(supplied(pool._pool_options))
    for outer, inner in (two, reversed(two)):
        with pytest.raises(sky.ConfigurationError, match="would each form a group around train"):
            outer(inner(train))


def test_a_name_has_one_version() -> None:
    for path in FOLDER.glob("*.txt"):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert len(versions(path)) == len(lines)


def test_a_requirement_is_pinned_where_its_version_is_known() -> None:
    known = versions()
    assert pinned(("torch>=2", "psutil", "keras")) == (f"torch=={known['torch']}", "psutil", f"keras=={known['keras']}")


def test_constraints_of_another_content_have_another_name_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / "versions.txt"
    path.write_text("torch==1\n")
    first = constraints(path)
    first.write_text("spoilt")
    assert constraints(path) == first
    assert first.read_text() == "torch==1\n"
    path.write_text("torch==2\n")
    assert constraints(path) != first
    assert constraints().read_bytes() == VERSIONS.read_bytes()


@pytest.mark.parametrize(
    ("framework", "python", "machine", "libc", "missing"),
    [
        ("tensorflow", (3, 13), "x86_64", "glibc", ""),
        ("tensorflow", (3, 14), "x86_64", "glibc", "tensorflow, which has no wheel for Python 3.14"),
        ("jax", (3, 14), "aarch64", "glibc", ""),
        ("jax", (3, 13), "riscv64", "glibc", "jax, which has no wheel for riscv64 with glibc"),
        ("keras", (3, 13), "x86_64", "", "keras, which has no wheel for x86_64 with this C library"),
        ("torch", (3, 20), "riscv64", "", ""),
    ],
)
def test_a_framework_that_a_platform_cannot_have_is_named_and_torch_is_never_left_out(
    framework: str, python: tuple[int, int], machine: str, libc: str, missing: str
) -> None:
    assert lacks(framework, python=python, machine=machine, libc=libc) == missing


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_needs_a_framework_can_be_left_out_and_may_take_its_time(framework: str) -> None:
    names = [each.name for each in needs(framework)]
    assert names[:3] == ["slow", "frameworks", "timeout"]
    assert ("skip" in names[3:]) == bool(lacks(framework))


def test_a_misspelt_framework_is_refused() -> None:
    with pytest.raises(AssertionError, match="no integration is for tortch"):
        needs("tortch")
