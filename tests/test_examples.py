"""The examples run, and what they say is right."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"

PACKAGE = {
    "__init__.py": "",
    "shapes.py": '''"""Three functions and a class, which do not share a body."""

class Circle:
    def area(self):
        """The area."""
        return 3 * self.radius**2

def choose(items, wanted):
    for item in items:                           # 2
        if item == wanted and item or not item:  # 5: if, and, or
            return [x for x in item if x]        # 7
    try:
        return wanted if items else None         # 8
    except ValueError:                           # 9
        def inner():
            return 1 if wanted else 2            # of inner: 2
        return inner
''',
    "sub/copied.py": """
def total(numbers):
    result = 0
    for number in numbers:
        if number > 0:
            result += number
    return result

def kind(value):
    match value:
        case int() | float():
            return "number"
        case [_, *rest] if rest:
            return "list"
        case other:
            return other
""",
    "sub/original.py": '''
async def the_total(numbers):
    """As the other one, for all that it does."""
    result  =  0      # laid out in another way
    for number in numbers:
        if number > 0:

            result += number
    return result
''',
    "sub/broken.py": "def f(:\n",
    "sub/miscoded.py": "# coding: no-such\n",
    "tests/test_shapes.py": "def test(): pass\n",
}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """``example("survey")`` is the module of that example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, source in PACKAGE.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path / "made"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_survey_of_a_known_package_has_the_figures_that_were_counted_by_hand(
    example: Callable[[str], Any], package: Path
) -> None:
    anatomy = example("anatomy")
    modules = anatomy.modules(str(package))
    assert [path for path, _ in modules] == sorted(set(PACKAGE) - {"tests/test_shapes.py"})
    assert all(size == len(PACKAGE[path]) for path, size in modules)

    found = anatomy.total(anatomy.examine(str(package), path) for path, _ in modules)

    assert found.modules == 6
    readable = ("__init__.py", "shapes.py", "sub/copied.py", "sub/original.py")
    assert found.lines == sum(len(PACKAGE[path].splitlines()) for path in readable)
    assert (found.classes, found.functions) == (1, 6)
    names = {"Circle.area": 1, "choose": 9, "choose.inner": 2, "total": 3, "kind": 3, "the_total": 3}
    assert found.complexity == Counter(names.values())
    assert {function.name: function.complexity for function in found.hardest} == dict(
        sorted(names.items(), key=lambda pair: -pair[1])[:5]
    )
    assert [(function.name, function.where, function.lines) for function in found.longest][:3] == [
        ("choose", "shapes.py:8", 10),
        ("kind", "sub/copied.py:9", 8),
        ("the_total", "sub/original.py:2", 8),
    ]
    assert [[function.name for function in group] for group in found.duplicated] == [["total", "the_total"]]


def test_modules_that_cannot_be_parsed_are_named_with_the_reason_and_stop_nothing(
    example: Callable[[str], Any], package: Path
) -> None:
    anatomy = example("anatomy")
    paths = ["sub/broken.py", "shapes.py", "sub/miscoded.py", "gone.py"]
    found = anatomy.total(anatomy.examine(str(package), path) for path in paths)
    assert (found.modules, found.functions) == (4, 3)
    assert sorted(found.unreadable) == ["gone.py", "sub/broken.py", "sub/miscoded.py"]
    assert found.unreadable["sub/broken.py"].startswith("SyntaxError: ")
    assert "no-such" in found.unreadable["sub/miscoded.py"]


def test_tests_are_surveyed_only_if_asked_for(example: Callable[[str], Any], package: Path) -> None:
    anatomy = example("anatomy")
    paths = {path for path, _ in anatomy.modules(str(package), tests=True)}
    assert paths == set(PACKAGE)


def test_the_library_of_this_python_is_found_without_what_was_installed_into_it(example: Callable[[str], Any]) -> None:
    anatomy = example("anatomy")
    paths = {path for path, _ in anatomy.modules(anatomy.library())}
    assert {"ast.py", "json/decoder.py", "asyncio/base_events.py"} <= paths
    assert not any(path.startswith(("site-packages", "dist-packages", "test/")) for path in paths)


def test_nodes_find_the_same_as_one_process(example: Callable[[str], Any]) -> None:
    survey, anatomy = example("survey"), example("anatomy")
    root = anatomy.library()
    some = [module for module in anatomy.modules(root) if module[0].startswith(("json/", "email/", "b", "re/"))]
    batches = survey.balanced(some, 8)
    with sky.ComputePool(nodes=2, display="quiet") as pool:
        parts = sky.gather(*(survey.survey(root, paths) for paths in batches)) >> pool
        alone, seconds = survey.survey_alone(root, batches) >> pool
    found = anatomy.total(parts)
    assert found == anatomy.total(reversed(parts)) == alone == survey.survey_alone.local(root, batches)[0]
    assert found.modules == len(some)
    assert found.functions > 300
    assert seconds > 0


sizes = st.lists(st.integers(0, 10**6), max_size=40).map(lambda all_: [(f"m{i}.py", n) for i, n in enumerate(all_)])


@given(sizes, st.integers(1, 20))
def test_batches_hold_every_module_once_and_weigh_about_the_same(modules: list[tuple[str, int]], count: int) -> None:
    sys.path.insert(0, str(EXAMPLES))
    try:
        survey = importlib.import_module("survey")
    finally:
        sys.path.remove(str(EXAMPLES))
    batches = survey.balanced(modules, count)
    assert sorted(path for paths in batches for path in paths) == sorted(path for path, _ in modules)
    assert len(batches) == min(count, len(modules))
    size = dict(modules)
    weights = [sum(size[path] for path in paths) for paths in batches]
    assert max(weights, default=0) - min(weights, default=0) <= max(size.values(), default=0)


def test_survey_prints_tables_with_both_times_on_standard_output(package: Path) -> None:
    done = run("examples/survey.py", "--folder", str(package), "--nodes", "1")
    assert done.returncode == 0, done.stderr
    for part in ("functions and methods", "sub/broken.py", "the_total", "one process", "1 node "):
        assert part in done.stdout, done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if str(package) not in line)


def test_a_folder_without_modules_is_refused_without_a_traceback(tmp_path: Path) -> None:
    done = run("examples/survey.py", "--folder", str(tmp_path), "--nodes", "1", "--display", "quiet")
    assert done.returncode == 1
    assert done.stderr == f"error: there is no Python module below {tmp_path}\n"


def test_hello_shows_one_node_every_node_and_calls_in_parallel_with_what_they_print() -> None:
    done = run("examples/hello.py", "--nodes", "2")
    assert done.returncode == 0, done.stderr
    assert "Hello, world, from node" in done.stdout
    for node in (0, 1):
        assert f"Hello, everybody, from node {node}: process" in done.stdout
    assert "3 apples, 2 pears and 4 plums" in done.stdout
    for line in ("apple 3", "pear 2", "plum 4"):
        assert line in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["hello", "survey", "demo"])
def test_a_provider_that_is_not_installed_is_named_with_the_remedy_and_no_traceback(name: str) -> None:
    done = run(f"examples/{name}.py", "--provider", "aws")
    assert done.returncode == 1
    assert done.stderr.startswith("error: sky.AWS is provided by skyward-aws"), done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["hello", "survey", "demo"])
def test_gpus_that_a_provider_does_not_have_are_refused_with_the_remedy_and_no_traceback(name: str) -> None:
    done = run(f"examples/{name}.py", "--accelerator", "T4", "--display", "quiet")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no provider offers 2 node(s), accelerator T4"), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_provider_that_an_example_offers_is_one_that_skyward_knows(example: Callable[[str], Any]) -> None:
    for name in example("_provider").PROVIDERS.values():
        with suppress(sky.PluginNotInstalled):  # an AttributeError would say that nobody knows it
            assert callable(getattr(sky, name))


def test_an_example_in_main_sends_the_module_beside_it_along(package: Path, tmp_path: Path) -> None:
    script = (
        f"import sys, json; sys.path.insert(0, {str(EXAMPLES)!r}); import anatomy, skyward as sky\n"
        "@sky.compute\n"
        "def here(root):\n"
        "    return anatomy.examine(root, 'shapes.py').functions\n"
        "if __name__ == '__main__':\n"
        "    with sky.ComputePool(display='quiet') as pool:\n"
        f"        print(json.dumps(here({str(package)!r}) >> pool))\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    done = run(str(path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == 3


# ---- joblib and scikit-learn -----------------------------------------------------------------------------------------


def test_joblib_draws_the_same_picture_on_nodes_as_here(
    example: Callable[[str], Any], run_example: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    joblib_map = example("joblib_map")
    done = run_example("joblib_map", "--depth", "300", "--display", "quiet")
    assert done.returncode == 0, done.stderr
    *picture, summary, added = done.stdout.splitlines()
    assert picture == [joblib_map.row(number, 300).text for number in range(joblib_map.HEIGHT)]
    assert summary.startswith(f"{joblib_map.HEIGHT} rows by ")
    assert added.startswith("Added up, the rows took ")


@pytest.mark.slow
def test_a_grid_search_shows_its_progress_the_best_of_each_family_and_a_picture(
    example: Callable[[str], Any], run_example: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    from sklearn.model_selection import ParameterGrid

    grid_search = example("grid_search")
    candidates = len(ParameterGrid(grid_search.search().param_grid))
    fits = grid_search.FOLDS * candidates
    picture = tmp_path / "scores.png"
    done = run_example("grid_search", "--picture", str(picture))
    assert done.returncode == 0, done.stderr
    assert f"{fits}/{fits}" in done.stderr
    assert f"{candidates} candidates, {grid_search.FOLDS} folds" in done.stdout
    for family in grid_search.FAMILIES.values():
        assert f"  {family}: " in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")


def test_a_progress_bar_moves_with_each_fit_and_with_nothing_else(example: Callable[[str], Any]) -> None:
    fits = example("grid_search").Fits(3)
    line = sky.LogLine(0, "local-1", "[CV 1/3] END ...C=1;, score=0.968 total time=   0.1s", 0.0, "stdout", 1, 0)
    for text in (line.line, "Fitting 3 folds for each of 1 candidates", line.line, "[CV 2/3] START", "warning: ..."):
        fits(evolve(line, line=text))
    [task] = fits.bar.tasks
    assert (task.completed, task.total) == (2, 3)
    fits.all_done()
    assert task.finished
