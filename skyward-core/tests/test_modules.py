"""Local modules travel with the functions that use them: whole, in their latest form, and no others."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skyward._codec import encode_call, encode_function
from skyward._locate import Kind, locate
from skyward._modules import EMPTY, Bundle, collect, relevant
from skyward.errors import SerializationError
from skyward.function import compute

type Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files into a directory on ``sys.path``; what was imported from it is forgotten afterwards."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    before = set(sys.modules)

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        return root

    yield write
    for name in set(sys.modules) - before:
        if str(root) in str(getattr(sys.modules[name], "__path__", "")) + str(
            getattr(sys.modules[name], "__file__", "")
        ):
            del sys.modules[name]


def names(bundle: Bundle) -> set[str]:
    return {module.name for module in bundle.modules}


def load(source: str, name: str = "__main__", package: str = "") -> Any:
    space: dict[str, Any] = {"__name__": name, "__package__": package, "compute": compute}
    exec(source, space)
    return space["f"]


def test_a_captured_module_and_what_it_imports_travel(project: Write, node: Any) -> None:
    project(
        {
            "kit_a/__init__.py": "from .core import start",
            "kit_a/core.py": "from . import sub\nfrom .sub import deep\nimport json, kit_b\nstart = kit_b.N + deep.N",
            "kit_a/sub/__init__.py": "",
            "kit_a/sub/deep.py": "N = 30",
            "kit_a/unused.py": "raise SystemExit('not needed')",
            "kit_b.py": "N = 4",
            "conftest.py": "",
        }
    )
    f = load("import kit_a\n@compute\ndef f(): return kit_a.start")
    assert node.run(f) == 34
    assert names(encode_function(f).bundle) == {"kit_a", "kit_a.core", "kit_a.sub", "kit_a.sub.deep", "kit_b"}


def test_modules_imported_in_bodies_only_travel_without_being_imported_here(project: Write, node: Any) -> None:
    project(
        {
            "lazy_a.py": "def go():\n    import lazy_b\n    return lazy_b.N",
            "lazy_b.py": "import sys\nsys.modules['kit_was_here'] = sys\nN = 5",
            "lazy_c/__init__.py": "",
            "lazy_c/d.py": "N = 2",
        }
    )
    f = load("@compute\ndef f():\n  from lazy_a import go\n  from lazy_c import d\n  import importlib\n"
             "  return go() + d.N + importlib.import_module('lazy_c.d').N")  # fmt: skip
    assert node.run(f) == 9
    assert "kit_was_here" not in sys.modules
    assert "lazy_a" not in sys.modules


def test_a_function_that_a_local_module_defines_goes_by_name(project: Write, node: Any) -> None:
    project({"task_a.py": "from skyward.function import compute\nN = 2\n@compute\ndef f(x): return x + N"})
    f = importlib.import_module("task_a").f
    encoded = encode_function(f)
    assert len(encoded.payload.data) < 100
    assert names(encoded.bundle) == {"task_a"}
    assert encode_function(f) is encoded
    assert node.run(f, 1) == 3


def test_classes_of_local_modules_travel_with_arguments_and_come_back(project: Write, node: Any) -> None:
    project({"shape_a.py": "from shape_b import Base\nclass Box(Base): pass", "shape_b.py": "class Base: n = 1"})
    box = importlib.import_module("shape_a").Box
    payload = encode_call((box(),), {}, "f", print)
    assert payload.modules == {"shape_a"}
    got = node.run(compute(lambda thing: [thing, type(thing)()]), box())
    assert [type(item) for item in got] == [box, box]


def test_sentinels_that_pickle_as_a_name_bring_their_module(project: Write, node: Any) -> None:
    project({"mark_a.py": "class _M:\n  def __reduce__(self): return 'MISSING'\nMISSING = _M()"})
    missing = importlib.import_module("mark_a").MISSING
    assert node.run(compute(lambda mark: mark), missing) is missing


def test_packages_that_are_not_local_stay_at_home(project: Write) -> None:
    project({"num_a.py": "import numpy, json, skyward, os.path\nfrom collections import abc\nx = numpy.pi"})
    f = load("import num_a, numpy, skyward\n@compute\ndef f(): return num_a.x, numpy.e, skyward")
    assert names(encode_function(f).bundle) == {"num_a"}
    assert relevant({"json", "numpy", "numpy.linalg", "skyward", "skyward._codec", "skyward_aws", "__main__"}) == set()
    assert collect(frozenset({"json", "numpy.linalg"})) is EMPTY


def test_imports_for_type_checkers_are_skipped(project: Write, node: Any) -> None:
    project({"typed_a.py": "import typing as t\nif t.TYPE_CHECKING:\n import typed_b\nelse:\n import typed_c\nN = 1",
             "typed_b.py": "", "typed_c.py": ""})  # fmt: skip
    f = load("import typed_a\n@compute\ndef f(): return typed_a.N")
    assert names(encode_function(f).bundle) == {"typed_a", "typed_c"}
    assert node.run(f) == 1


def test_circular_imports_travel(project: Write, node: Any) -> None:
    project({"ring_a.py": "import ring_b\ndef f(): return ring_b.g()", "ring_b.py": "import ring_a\ndef g(): return 8"})
    assert node.run(load("import ring_a\n@compute\ndef f(): return ring_a.f()")) == 8


def test_namespace_packages_travel_and_join_the_nodes_own(project: Write, tmp_path: Path, node_beside: Any) -> None:
    there = tmp_path / "there"
    (there / "space_a").mkdir(parents=True)
    (there / "space_a" / "far.py").write_text("N = 2")
    project({"space_a/near.py": "N = 1"})
    node = node_beside(there)
    f = load("import space_a.near as near\n@compute\ndef f():\n  import space_a.far\n  return near.N + space_a.far.N")
    assert node.run(f) == 3


def test_a_local_module_wins_over_one_of_the_same_name_on_the_node(
    project: Write, tmp_path: Path, node_beside: Any
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "helpers_a.py").write_text("N = 'node'")
    node = node_beside(there)
    if True:
        assert node.run(load("@compute\ndef f():\n  import helpers_a\n  return helpers_a.N")) == "node"
        project({"helpers_a.py": "N = 'client'"})
        assert node.run(load("@compute\ndef f():\n  import helpers_a\n  return helpers_a.N")) == "client"


def test_a_reloaded_module_arrives_anew_with_those_that_import_it(project: Write, node: Any) -> None:
    root = project({"edit_a.py": "N = 1", "edit_b.py": "from edit_a import N\ncalls = []", "edit_c.py": "calls = []"})
    f = load("import edit_a, edit_b, edit_c\n@compute\ndef f():\n  edit_b.calls.append(1)\n  edit_c.calls.append(1)\n"
             "  return edit_a.N, edit_b.N, len(edit_b.calls), len(edit_c.calls)")  # fmt: skip
    first = encode_function(f)
    assert node.run(f) == (1, 1, 1, 1)
    assert node.run(f) == (1, 1, 2, 2)
    (root / "edit_a.py").write_text("N = 22")
    assert encode_function(f) is first, "this process still runs the old source, and so must the nodes"
    importlib.reload(sys.modules["edit_a"])
    importlib.reload(sys.modules["edit_b"])
    assert encode_function(f).digest != first.digest
    assert node.run(f) == (22, 22, 1, 3)


def test_a_source_that_comes_back_is_sent_anew(project: Write) -> None:
    root = project({"back_a.py": "N = 1"})
    f = load("import back_a\n@compute\ndef f(): return back_a.N")
    digests = set()
    for value in (1, 22, 1):
        (root / "back_a.py").write_text(f"N = {value}")
        importlib.reload(sys.modules["back_a"])
        digests.add(encode_function(f).digest)
    assert len(digests) == 3


def test_an_edited_module_that_is_not_loaded_here_arrives_anew(project: Write, node: Any) -> None:
    root = project({"later_a.py": "N = 1"})
    f = load("@compute\ndef f():\n  import later_a\n  return later_a.N")
    assert node.run(f) == 1
    (root / "later_a.py").write_text("N = 22")
    assert node.run(f) == 22


def test_a_module_written_after_a_failed_call_is_found(project: Write, node: Any) -> None:
    root = project({"some_a/__init__.py": ""})
    f = load(
        "@compute\ndef f():\n  import missing_a\n  from some_a import missing_b\n  return missing_a.N + missing_b.N"
    )
    with pytest.raises(RuntimeError, match="No module named 'missing_a'"):
        node.run(f)
    (root / "missing_a.py").write_text("N = 3")
    with pytest.raises(RuntimeError, match="cannot import name 'missing_b'"):
        node.run(f)
    (root / "some_a" / "missing_b.py").write_text("N = 4")
    assert node.run(f) == 7


def test_modules_known_only_at_run_time_travel_when_loaded(project: Write, node: Any) -> None:
    project(
        {
            "dyn_a/__init__.py": "import importlib\ndef get(n): return importlib.import_module('.' + n, __name__).N",
            "dyn_a/one.py": "N = 1",
            "dyn_a/two.py": "N = 2",
        }
    )
    f = load("import dyn_a\n@compute\ndef f(n): return dyn_a.get(n)")
    importlib.import_module("dyn_a.one")
    assert node.run(f, "one") == 1
    importlib.import_module("dyn_a.two")
    assert node.run(f, "two") == 2


def test_star_imports_bring_the_submodules_that_all_names(project: Write, node: Any) -> None:
    project({"star_a/__init__.py": "__all__ = ['x']", "star_a/x.py": "N = 1", "star_b.py": "from star_a import *"})
    assert node.run(load("import star_b\n@compute\ndef f(): return star_b.x.N")) == 1


def test_a_local_extension_module_is_refused_with_the_remedy(project: Write) -> None:
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    project({f"fast_a{suffix}": "", "fast_b.py": "def go():\n    import fast_a",
             "fast_c.py": "try:\n    import fast_a\nexcept ImportError:\n    fast_a = None"})  # fmt: skip
    with pytest.raises(SerializationError, match=r"'fast_a' cannot travel.*Image\(pip="):
        encode_function(load("import fast_b\n@compute\ndef f(): return fast_b.go()"))
    with pytest.raises(SerializationError, match="'fast_a' cannot travel"):
        encode_function(load("@compute\ndef f():\n  import fast_a"))
    f = load("@compute\ndef f():\n  import fast_c")
    assert names(encode_function(f).bundle) == {"fast_c"}, "an import that may fail does not need it"


def test_what_pip_installed_into_any_directory_is_not_local(project: Write) -> None:
    root = project({"target_a/__init__.py": "",
                    "target_a-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: target_a\n",
                    "target_a-1.0.dist-info/RECORD": "target_a/__init__.py,,\n", "mine_a.py": ""})  # fmt: skip
    assert (root / "target_a").is_dir()
    assert locate("target_a").kind is Kind.FOREIGN
    assert locate("mine_a").kind is Kind.LOCAL


def test_modules_in_a_zip_file_travel(project: Write, tmp_path: Path, monkeypatch: Any, node: Any) -> None:
    project({})
    archive = tmp_path / "project" / "lib.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_a.py", "N = 6")
    monkeypatch.syspath_prepend(str(archive))
    assert node.run(load("import zipped_a\n@compute\ndef f(): return zipped_a.N")) == 6


def test_modules_keep_their_file_names_and_source_in_tracebacks(project: Write, node: Any) -> None:
    root = project({"trace_a.py": "def fail():\n    return 1 / 0  # here\n"})
    f = load("import trace_a\n@compute\ndef f(): return trace_a.fail()")
    encoded = encode_function(f)
    (root / "trace_a.py").unlink()
    with pytest.raises(RuntimeError) as caught:
        node.run_encoded(encoded)
    assert str(root / "trace_a.py") in str(caught.value)
    assert "return 1 / 0  # here" in str(caught.value)


def test_source_in_another_encoding_travels(project: Write, node: Any) -> None:
    root = project({})
    (root / "latin_a.py").write_bytes("# -*- coding: latin-1 -*-\nN = 'é'\n".encode("latin-1"))
    f = load("import latin_a, inspect\n@compute\ndef f(): return latin_a.N, inspect.getsource(latin_a)")
    name, source = node.run(f)
    assert name == "é"
    assert "'é'" in source


CLIENT = """
if __name__ == "__main__":
    import pickle, sys
    from skyward._codec import encode_function
    encoded = encode_function(train)
    with open(sys.argv[1], "wb") as file:
        pickle.dump((encoded.bundle.records(), encoded.payload.data), file)
"""


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        (["-m", "proj.train"], "."),
        (["proj/script.py"], "."),
        (["-c", "import proj.byname\nfrom proj.byname import train"], "."),
        (["script.py"], "proj"),
    ],
    ids=["as a module of a package", "as a script", "from the working directory", "beside its helpers"],
)
def test_the_ways_to_start_a_program(command: list[str], folder: str, tmp_path: Path, node: Any) -> None:
    files = {
        "proj/__init__.py": "",
        "proj/helpers.py": "from .more import N\ndef two(): return N",
        "proj/more.py": "N = 2",
        "proj/loner.py": "N = 10",
        "proj/flat.py": "import loner\nN = loner.N",
        "proj/train.py": "from skyward.function import compute\nfrom . import helpers\n@compute\ndef train():\n"
        "    from .loner import N\n    from . import more\n    return helpers.two() + N + more.N - 2\n" + CLIENT,
        "proj/script.py": "from skyward.function import compute\nimport flat\n@compute\ndef train():\n"
        "    import loner\n    return flat.N + 2\n" + CLIENT,
        "proj/byname.py": "from skyward.function import compute\nfrom .more import N\n@compute\ndef train():\n"
        "    from . import loner\n    return N + loner.N\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    if command[0] == "-c":
        command = ["-c", command[1] + CLIENT]
    out = tmp_path / "out"
    subprocess.run([sys.executable, *command, str(out)], cwd=tmp_path / folder, check=True, env={**os.environ})
    records, data = pickle.loads(out.read_bytes())
    assert {name for name, *_ in records} & {"conftest", "proj.train", "proj.script"} == set()

    class Given:
        def records(self) -> Any:
            return records

    assert node.run_raw([Given()], (data, []), (pickle.dumps(((), {})), [])) == 12


class Clumsy:
    """A finder of somebody else's that fails."""

    def find_spec(self, *args: Any) -> None:
        raise RuntimeError


def test_a_finder_that_fails_and_odd_entries_among_the_modules_are_passed_over(
    project: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    project({"odd_a.py": ""})
    monkeypatch.setattr(sys, "meta_path", [Clumsy(), *sys.meta_path])
    monkeypatch.setitem(sys.modules, "odd_b", None)
    assert locate("odd_a").kind is Kind.LOCAL
    assert locate("odd_a.below").kind is Kind.MISSING
    assert locate("odd_b").kind is Kind.FOREIGN
    assert locate("json.decoder").kind is Kind.FOREIGN
    assert locate("xml.no_such").kind is Kind.FOREIGN
    assert locate("odd_c").kind is Kind.MISSING
    assert locate("odd_c.d").kind is Kind.MISSING
