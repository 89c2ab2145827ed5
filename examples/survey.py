"""A survey of Python's standard library: every module is parsed on the nodes, the results are added up here.

python examples/survey.py
python examples/survey.py --tests --nodes 4
python examples/survey.py --folder ~/src/project     any folder of Python that the nodes can read
"""

from __future__ import annotations

import heapq
import os
import platform
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import anatomy
from _provider import parser, pool, start
from anatomy import Survey

import skyward as sky

BATCHES_PER_NODE = 8
"""Enough that no node waits long for the last one, few enough that sending them costs nothing."""


class Inventory(NamedTuple):
    """A folder of modules: where it is, what to call it, and each module's path in it with its size in bytes."""

    root: str
    subject: str
    modules: list[tuple[str, int]]


class Outcome(NamedTuple):
    """The survey and how many seconds it took: on the nodes, and in one process."""

    survey: Survey
    subject: str
    nodes: int
    seconds: float
    seconds_alone: float


@sky.compute
def inventory(folder: str | None, *, tests: bool) -> Inventory:
    """On a node: what there is to survey there."""
    root = folder or anatomy.library()
    subject = folder or f"The standard library of Python {platform.python_version()}"
    return Inventory(root, subject, anatomy.modules(root, tests=tests))


@sky.compute
def survey(root: str, paths: list[str]) -> Survey:
    """On a node: parse some modules. ``anatomy``, a module beside this file, comes along by itself."""
    return anatomy.total(anatomy.examine(root, path) for path in paths)


@sky.compute
def survey_alone(root: str, batches: list[list[str]]) -> tuple[Survey, float]:
    """The same in one process, and how many seconds it takes."""
    begun = time.perf_counter()
    found = anatomy.total(survey.local(root, paths) for paths in batches)
    return found, time.perf_counter() - begun


def balanced(modules: list[tuple[str, int]], count: int) -> list[list[str]]:
    """Share modules out into at most ``count`` batches of about equally many bytes."""
    batches: list[tuple[int, int, list[str]]] = [(0, number, []) for number in range(min(count, len(modules)))]
    for path, size in sorted(modules, key=lambda module: (-module[1], module[0])):
        filled, number, paths = batches[0]  # the one with the fewest bytes
        heapq.heapreplace(batches, (filled + size, number, [*paths, path]))
    return [paths for _, _, paths in sorted(batches, key=lambda batch: batch[1])]


def main(arguments: Sequence[str] | None = None) -> Outcome:
    """Run the survey on the nodes, then in one process, and print what it found."""
    options = parser("Survey Python's standard library on the nodes.")
    options.add_argument("--tests", action="store_true", help="survey the library's tests as well")
    options.add_argument("--folder", help="survey this folder of the nodes, instead of the library")
    chosen = options.parse_args(arguments)
    here = chosen.provider == "local"  # the nodes are this machine, so that one process of it is what to compare with
    folder = os.path.abspath(chosen.folder) if chosen.folder and here else chosen.folder

    with pool(chosen) as nodes:
        root, subject, modules = inventory(folder, tests=chosen.tests) >> nodes
        if not modules:
            sys.exit(f"error: there is no Python module below {root}")
        batches = balanced(modules, BATCHES_PER_NODE * chosen.nodes)
        print(f"{subject}: {len(modules):,} modules in {len(batches)} batches for {chosen.nodes} nodes ...")
        begun = time.perf_counter()
        found = anatomy.total(sky.gather(*(survey(root, paths) for paths in batches)) >> nodes)
        seconds = time.perf_counter() - begun
        print(f"Done in {seconds:.1f} s. The same again in one process, to compare ...")
        alone = None if here else survey_alone(root, batches) >> nodes
    again, seconds_alone = alone or survey_alone.local(root, batches)
    if again != found:
        raise AssertionError("the nodes and the single process have not found the same")
    from _report import report

    outcome = Outcome(found, subject, chosen.nodes, seconds, seconds_alone)
    report(outcome)
    return outcome


if __name__ == "__main__":
    start(main)
