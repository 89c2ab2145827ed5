"""What code imports and reads by name, found without running it."""

from __future__ import annotations

from typing import Any

import pytest

from skyward.worker.codescan import class_body_names, global_names, imported, source_imports


def function(source: str) -> Any:
    space: dict[str, Any] = {}
    exec(source, space)
    return space["f"].__code__


@pytest.mark.parametrize(
    ("body", "package", "expected"),
    [
        ("import a.b as c", "", {"a.b"}),
        ("from a import b, c", "", {"a", "a.b", "a.c"}),
        ("from . import b", "p.q", {"p.q", "p.q.b"}),
        ("from ..r import b", "p.q", {"p.r", "p.r.b"}),
        ("from ... import b", "p.q", set()),
        ("from . import b", "", set()),
        ("lambda: __import__('a.b')", "", {"a.b"}),
        ("import_module('a.b'); x = 'not a name'", "", {"a.b"}),
        ("def g():\n      import a\n      class C:\n        import b", "", {"a", "b"}),
    ],
)
def test_imports_of_a_function(body: str, package: str, expected: set[str]) -> None:
    found = imported(function(f"def f():\n    {body}"), package)
    assert found == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a, b.c", [("a", ()), ("b.c", ())]),
        ("from .x import y", [("p.x", ("y",))]),
        ("from .. import y", []),
        ("def f():\n  from a import *", [("a", ("*",))]),
        ("if TYPE_CHECKING:\n  import a\nelse:\n  import b", [("b", ())]),
        ("import_module('.x')\nimportlib.import_module('y.z')", [("p.x", ()), ("y.z", ())]),
        ("def (", []),
        ("x = '\\0'", []),
        ("importlib.import_module()", []),
        ("with x:\n  match y:\n    case 1:\n      import a", [("a", ())]),
    ],
)
def test_imports_of_a_source(source: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(i.module, i.names) for i in source_imports(source.encode(), "p")] == expected


@pytest.mark.parametrize(
    ("source", "optional"),
    [
        ("import a", False),
        ("try:\n  import a\nexcept ImportError: pass", True),
        ("try:\n  import a\nexcept (ValueError, ModuleNotFoundError): pass", True),
        ("try:\n  import a\nexcept: pass", True),
        ("try:\n  import a\nexcept ValueError: pass", False),
        ("try:\n  pass\nexcept ImportError:\n  import a", False),
        ("try:\n  if x:\n    import_module('a')\nexcept ImportError: pass", True),
    ],
)
def test_an_import_whose_failure_is_caught_is_optional(source: str, optional: bool) -> None:
    assert [i.optional for i in source_imports(source.encode(), "") if i.module] == [optional]


@pytest.mark.parametrize("call", ["import_module(name)", "pkgutil.iter_modules(p)", "__import__(x + y)"])
def test_an_import_of_a_name_made_at_run_time_is_noted(call: str) -> None:
    assert [i.dynamic for i in source_imports(call.encode(), "p")] == [True]


def test_names_read_in_nested_code_count_as_globals() -> None:
    code = function("def f():\n  g()\n  class C:\n    x = N\n    def m(self): return M\n  return [K for _ in ()]")
    assert set(global_names(code)) >= {"g", "N", "M", "K"}
    assert "N" in class_body_names(code)
    assert "M" not in class_body_names(code)
