"""Carried modules on the node: importable, replaced when their source changes, and otherwise left alone."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyward.worker import modules
from skyward.worker.modules import install


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    before, path, carried = dict(sys.modules), list(sys.meta_path), modules._finder.modules
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith("carried"):
            del sys.modules[name]
    sys.meta_path[:] = path
    modules._finder.modules = carried
    importlib.invalidate_caches()


def record(name: str, source: str, *, package: bool = False) -> tuple[str, str, bool, bytes]:
    path = name.replace(".", "/") + ("/__init__.py" if package else ".py")
    return name, f"/client/{path}", package, source.encode()


def load(name: str) -> object:
    return importlib.import_module(name)


def test_a_module_has_what_modules_have() -> None:
    install([record("carried", "", package=True), record("carried.a", "import os\ndef f():\n    return 1 / 0\n")])
    module = importlib.import_module("carried.a")
    package = importlib.import_module("carried")
    assert module.__file__ == "/client/carried/a.py"
    assert (module.__package__, package.__path__) == ("carried", ["/client/carried"])
    assert module.__spec__ is not None
    assert not module.__spec__.cached or module.__spec__.loader is not None
    assert inspect.getsource(module.f) == "def f():\n    return 1 / 0\n"
    assert pkgutil.get_data("carried.a", "a.py") == b"import os\ndef f():\n    return 1 / 0\n"
    loader = module.__loader__
    assert loader is not None
    assert loader.get_filename("carried.a") == module.__file__  # type: ignore[attr-defined]
    assert loader.is_package() is False  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError) as caught:
        module.f()
    assert "return 1 / 0" in traceback.format_exception(caught.value)[-2]


def test_installing_the_same_again_keeps_the_loaded_module() -> None:
    bundle = [record("carried_a", "state = []")]
    install(bundle)
    module = load("carried_a")
    assert install(bundle) == frozenset()
    assert load("carried_a") is module


def test_a_changed_source_replaces_the_module_and_those_that_import_it() -> None:
    install(
        [
            record("carried", "", package=True),
            record("carried.base", "N = 1"),
            record("carried.user", "from .base import N"),
            record("carried.far", "def f():\n    from carried import user"),
            record("carried.loose", "x = []"),
            record("carried_d", "import importlib\ndef get(n): return importlib.import_module(n)"),
        ]
    )
    names = ["carried.base", "carried.user", "carried.far", "carried.loose", "carried_d"]
    before = {name: load(name) for name in names}
    dropped = install([record("carried.base", "N = 2")])
    assert dropped == {"carried.base", "carried.user", "carried.far", "carried_d"}
    from carried import base, user  # type: ignore[import-not-found]

    assert (base.N, user.N) == (2, 2)
    assert load("carried.loose") is before["carried.loose"]


def test_a_changed_package_takes_its_submodules_along() -> None:
    install([record("carried", "N = 1", package=True), record("carried.a", "")])
    load("carried.a")
    assert install([record("carried", "N = 2", package=True)]) == {"carried", "carried.a"}
    import carried.a  # type: ignore[import-not-found]

    assert carried.N == 2
    assert carried.a is sys.modules["carried.a"]


def test_a_module_of_the_nodes_own_of_that_name_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "carried_own.py").write_text("N = 'node'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load("carried_own").N == "node"  # type: ignore[attr-defined]
    assert install([record("carried_own", "N = 'client'")]) == {"carried_own"}
    assert load("carried_own").N == "client"  # type: ignore[attr-defined]


@pytest.mark.parametrize("same", [True, False])
def test_the_clients_own_file_loaded_on_the_clients_machine(
    same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "carried_file.py"
    file.write_text("N = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = load("carried_file")
    source = b"N = 1" if same else b"N = 2"
    install([("carried_file", str(file), False, source)])
    assert (load("carried_file") is module) is same
    file.unlink()
    install([("carried_file", str(file), False, b"N = 3")])
    assert load("carried_file").N == 3  # type: ignore[attr-defined]


def test_a_namespace_package_is_made_where_the_node_has_none() -> None:
    install([("carried_ns", "", True, b""), record("carried_ns.a", "N = 1")])
    assert load("carried_ns.a").N == 1  # type: ignore[attr-defined]
    assert install([("carried_ns", "", True, b""), record("carried_ns.a", "N = 1")]) == frozenset()


def test_what_the_worker_itself_runs_on_is_never_replaced() -> None:
    import cloudpickle

    import skyward

    assert (
        install([record("skyward", "", package=True), record("cloudpickle", ""), record("skyward_x", "")])
        == frozenset()
    )
    assert load("cloudpickle") is cloudpickle
    assert load("skyward") is skyward
    with pytest.raises(ModuleNotFoundError):
        load("skyward_x")


def test_a_module_that_fails_to_import_can_be_replaced() -> None:
    install([record("carried_bad", "def (")])
    with pytest.raises(SyntaxError):
        load("carried_bad")
    install([record("carried_bad", "N = 1")])
    assert load("carried_bad").N == 1  # type: ignore[attr-defined]


def test_threads_may_import_while_others_install() -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                name = f"carried_t{number}_{turn}"
                install([record(name, f"N = {turn}")])
                assert turn == load(name).N  # type: ignore[attr-defined]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
