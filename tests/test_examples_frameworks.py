"""The examples that train by a framework for several processes, on nodes that have it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from frameworks import installed_plugins as installed_plugins
from frameworks import needs

type Run = Callable[..., subprocess.CompletedProcess[str]]


class Training(NamedTuple):
    """What a line of an example says of a training."""

    ranks: int
    steps: int
    """0 where they are not told."""
    first: float
    last: float


def trainings(run: Run, name: str, *options: str) -> tuple[list[Training], str]:
    """One for each line that has a loss at the beginning and at the end; and all that the example has printed."""
    done = run(name, *options, "--display", "quiet")
    assert done.returncode == 0, done.stderr
    pattern = r"^(\d|one) (?:node|worker|rank|device)s?\b.*?(?:: (\d+) steps\b.*?)?\bloss (\d+\.\d+) -> (\d+\.\d+)"
    found = [
        Training(1 if ranks == "one" else int(ranks), int(steps or 0), float(first), float(last))
        for ranks, steps, first, last in re.findall(pattern, done.stdout, re.MULTILINE)
    ]
    assert found, done.stdout
    assert all(each.last < 0.6 * each.first for each in found), found
    return found, done.stdout


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("torch_digits", ("--wheels", "pypi", "--epochs", "3"), marks=needs("torch")),
        pytest.param("tensorflow_digits", ("--epochs", "2"), marks=needs("tensorflow")),
        pytest.param("transformers_tiny", ("--wheels", "pypi"), marks=needs("transformers")),
    ],
)
def test_two_nodes_learn_together_what_one_does_alone(
    name: str, options: tuple[str, ...], run_example: Run, tmp_path: Path
) -> None:
    picture = tmp_path / "losses.png"
    drawn = ("--picture", str(picture)) if name == "torch_digits" else ()
    (together, alone), said = trainings(run_example, name, *options, *drawn)
    assert (together.ranks, alone.ranks) == (2, 1)
    assert together.steps == alone.steps > 0
    # As far as the losses are told; that they are the same in each step is the packages' own tests' to show.
    assert (together.first, together.last) == pytest.approx((alone.first, alone.last), abs=0.1)
    if drawn:
        [apart] = re.findall(r"^The two curves are (\d+\.\d+) apart", said, re.MULTILINE)
        assert float(apart) < 1e-2
        assert picture.read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize(
    "name", [pytest.param("jax_digits", marks=needs("jax")), pytest.param("keras_digits", marks=needs("keras"))]
)
def test_the_devices_of_all_nodes_learn_one_network(name: str, run_example: Run) -> None:
    [trained], _ = trainings(run_example, name, "--epochs", "3")
    assert trained.ranks == 2


@pytest.mark.parametrize(
    "name", ["torch_digits", "jax_digits", "keras_digits", "tensorflow_digits", "transformers_tiny"]
)
def test_the_gpus_that_an_example_is_told_of_are_those_that_its_pool_asks_for(name: str, run_example: Run) -> None:
    done = run_example(name, "--accelerator", "T4", "--display", "quiet")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no provider offers 2 node(s), accelerator T4"), done.stderr
