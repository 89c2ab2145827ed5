"""What a piece of code needs by name: the globals that it reads and the modules that it imports.

Code objects are scanned for functions that travel by value, source text for modules that travel as files.
"""

from __future__ import annotations

import ast
import dis
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import NamedTuple

__all__ = ["Import", "class_body_names", "global_names", "imported", "source_imports"]

_GLOBAL_OPS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"})
_CLASS_BODY_OPS = frozenset({"LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_OPTIMIZED = 0x1  # CO_OPTIMIZED: set for functions, not for the bodies of classes and modules
_IMPORTERS = frozenset({"import_module", "__import__"})
_LISTERS = frozenset({"iter_modules", "walk_packages"})
_LENIENT = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


class Import(NamedTuple):
    """One import of a module: its absolute name, the names taken from it, and whether its failure is caught.

    ``dynamic`` stands for an import whose name only the running program knows; ``module`` is then empty.
    """

    module: str
    names: tuple[str, ...] = ()
    optional: bool = False
    dynamic: bool = False


class _Scan(NamedTuple):
    global_names: tuple[str, ...]
    class_body_names: tuple[str, ...]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]
    computed: tuple[str, ...]


_scans: weakref.WeakKeyDictionary[types.CodeType, _Scan] = weakref.WeakKeyDictionary()


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names of the globals that ``code`` and the code nested in it use, in the order of first use."""
    return _scan(code).global_names


def class_body_names(code: types.CodeType) -> tuple[str, ...]:
    """Those of the names that only the bodies of classes nested in ``code`` use."""
    return _scan(code).class_body_names


def imported(code: types.CodeType, package: object) -> set[str]:
    """Absolute names that ``code`` may import when it runs inside ``package``.

    Names taken from a module stand as if they were submodules (``from a import b`` gives ``a`` and ``a.b``): only the
    importing side knows which of the two it is.
    """
    scan = _scan(code)
    found: set[str] = set(scan.computed)
    for level, module, names in scan.imports:
        absolute = _absolute(module, level, package if isinstance(package, str) else "")
        if absolute:
            found.add(absolute)
            found.update(f"{absolute}.{name}" for name in names if name != "*")
    return found


def _scan(code: types.CodeType) -> _Scan:
    known = _scans.get(code)
    if known is None:
        known = _scans[code] = _scan_afresh(code)
    return known


def _scan_afresh(code: types.CodeType) -> _Scan:
    names: dict[str, None] = {}
    body: dict[str, None] = {}
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    computed: list[str] = []
    for part in _nested(code):
        first = second = None
        for step in dis.get_instructions(part):
            if step.opname in _GLOBAL_OPS:
                names[step.argval] = None
            elif step.opname in _CLASS_BODY_OPS and part is not code and not part.co_flags & _OPTIMIZED:
                body[step.argval] = None
            elif step.opname == "IMPORT_NAME":
                taken = second if isinstance(second, tuple) else ()
                imports.append((first if isinstance(first, int) else 0, step.argval, taken))
            if step.opname != "EXTENDED_ARG":
                first, second = second, step.argval
        if _IMPORTERS.intersection(part.co_names):
            computed += [c for c in part.co_consts if isinstance(c, str) and c.replace(".", "x").isidentifier()]
    return _Scan(
        tuple({**names, **body}), tuple(name for name in body if name not in names), tuple(imports), tuple(computed)
    )


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _nested(const)


def _absolute(module: str, level: int, package: str) -> str:
    """The absolute name of ``module`` imported with ``level`` leading dots inside ``package``; empty if beyond it."""
    if not level:
        return module
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{module}" if module else base


def source_imports(source: bytes, package: str) -> list[Import]:
    """Every import in a module's source, also those inside functions, but for ``if TYPE_CHECKING`` blocks.

    Source that does not parse gives none: importing it will say what is wrong with it.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    found: list[Import] = []
    _walk(tree.body, package, found, optional=False)
    return found


def _walk(nodes: list[ast.stmt], package: str, found: list[Import], *, optional: bool) -> None:
    pending: list[tuple[ast.AST, bool]] = [(node, optional) for node in reversed(nodes)]
    while pending:
        node, lenient = pending.pop()
        match node:
            case ast.Import():
                found += [Import(alias.name, (), lenient) for alias in node.names]
            case ast.ImportFrom():
                absolute = _absolute(node.module or "", node.level, package)
                if absolute:
                    found.append(Import(absolute, tuple(alias.name for alias in node.names), lenient))
            case ast.If() if _is_type_checking(node.test):
                pending += [(child, lenient) for child in reversed(node.orelse)]
            case ast.Try():
                caught = lenient or any(_is_lenient(handler) for handler in node.handlers)
                rest = [*node.handlers, *node.orelse, *node.finalbody]
                pending += [(child, lenient) for child in reversed(rest)]
                pending += [(child, caught) for child in reversed(node.body)]
            case _:
                if isinstance(node, ast.Call):
                    found += _called(node, package, optional=lenient)
                pending += [(child, lenient) for child in reversed(list(ast.iter_child_nodes(node)))]


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _is_lenient(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    if caught is None:
        return True
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(kind, ast.Name) and kind.id in _LENIENT for kind in kinds)


def _called(call: ast.Call, package: str, *, optional: bool) -> list[Import]:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in _LISTERS:
        return [Import("", (), optional, dynamic=True)]
    if name not in _IMPORTERS or not call.args:
        return []
    wanted = call.args[0]
    if not isinstance(wanted, ast.Constant) or not isinstance(wanted.value, str):
        return [Import("", (), optional, dynamic=True)]
    bare = wanted.value.lstrip(".")
    absolute = _absolute(bare, len(wanted.value) - len(bare), package)
    return [Import(absolute, (), optional)] if absolute else []


def globals_used(function: types.FunctionType) -> Mapping[str, object]:
    """The globals that ``function`` uses and that exist, by name."""
    everything = function.__globals__
    return {name: everything[name] for name in global_names(function.__code__) if name in everything}
