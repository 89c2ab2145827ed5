"""What a piece of Python source is made of. Plain functions, which know nothing of nodes: survey.py runs them there."""

from __future__ import annotations

import ast
import heapq
import os
import sysconfig
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

SHOWN = 5
"""How many of the longest and of the most complex functions a survey keeps."""
WORTH_SHARING = 5
"""A function's body counts as duplicated only if it has at least so many statements: short ones are alike by nature."""
TEST_FOLDERS = {"test", "tests", "idle_test"}
FOREIGN_FOLDERS = {"site-packages", "dist-packages", "__pycache__"}

_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, order=True)
class Function:
    """A function or method. ``where`` is ``path:line``, ``lines`` counts from its ``def`` to its last line."""

    where: str
    name: str
    lines: int
    complexity: int


@dataclass
class Survey:
    """What was found in some modules; ``total`` adds surveys of different modules up."""

    modules: int = 0
    lines: int = 0
    classes: int = 0
    functions: int = 0
    complexity: Counter[int] = field(default_factory=Counter)  # cyclomatic complexity -> number of functions
    longest: list[Function] = field(default_factory=list)
    hardest: list[Function] = field(default_factory=list)
    bodies: dict[bytes, list[Function]] = field(
        default_factory=dict
    )  # the hash of a body -> the functions that have it
    unreadable: dict[str, str] = field(default_factory=dict)  # path -> why it could not be parsed

    @property
    def duplicated(self) -> list[list[Function]]:
        """Groups of functions with one and the same body, the longest body first."""
        groups = (functions for functions in self.bodies.values() if len(functions) > 1)
        return sorted(groups, key=lambda group: (-group[0].lines, group))


def total(surveys: Iterable[Survey]) -> Survey:
    """Add up surveys of different modules, in whatever order: the sum is the survey of them all."""
    whole = Survey()
    for part in surveys:
        whole.modules += part.modules
        whole.lines += part.lines
        whole.classes += part.classes
        whole.functions += part.functions
        whole.complexity += part.complexity
        whole.longest = longest([*whole.longest, *part.longest])
        whole.hardest = hardest([*whole.hardest, *part.hardest])
        for body, functions in part.bodies.items():
            whole.bodies[body] = sorted([*whole.bodies.get(body, ()), *functions])
        whole.unreadable |= part.unreadable
    return whole


def longest(functions: list[Function]) -> list[Function]:
    """The functions with the most lines."""
    return heapq.nsmallest(SHOWN, functions, key=lambda function: (-function.lines, function))


def hardest(functions: list[Function]) -> list[Function]:
    """The functions with the most ways through them."""
    return heapq.nsmallest(SHOWN, functions, key=lambda function: (-function.complexity, function))


def library() -> str:
    """The folder of this Python's standard library."""
    return sysconfig.get_path("stdlib")


def modules(root: str, *, tests: bool = False) -> list[tuple[str, int]]:
    """Every module below ``root``, as path from there and size in bytes, ordered by path."""
    found: list[tuple[str, int]] = []
    skipped = FOREIGN_FOLDERS if tests else FOREIGN_FOLDERS | TEST_FOLDERS
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in skipped]
        paths = [Path(folder, name) for name in files if name.endswith(".py")]
        found += [(path.relative_to(root).as_posix(), path.stat().st_size) for path in paths]
    return sorted(found)


def examine(root: str, path: str) -> Survey:
    """Read and parse one module. One that cannot be parsed is reported as such."""
    try:
        with tokenize.open(os.path.join(root, path)) as file:  # heeds the file's own encoding
            source = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old escapes and the like, which are not what this looks for
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        return Survey(
            modules=1,
            unreadable={path: f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"},
        )
    return dissect(tree, path, source.count("\n") + (source[-1:] not in {"", "\n"}))


def dissect(tree: ast.Module, path: str, lines: int) -> Survey:
    """Count what a parsed module holds."""
    survey = Survey(modules=1, lines=lines)
    functions: list[Function] = []
    for node, name in _named(tree):
        if isinstance(node, ast.ClassDef):
            survey.classes += 1
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        function = Function(f"{path}:{node.lineno}", name, length, complexity(node))
        functions.append(function)
        body = _without_docstring(node.body)
        if sum(isinstance(inner, ast.stmt) for statement in body for inner in ast.walk(statement)) >= WORTH_SHARING:
            survey.bodies.setdefault(_fingerprint(body), []).append(function)
    survey.functions = len(functions)
    survey.complexity = Counter(function.complexity for function in functions)
    survey.longest = longest(functions)
    survey.hardest = hardest(functions)
    for same in survey.bodies.values():
        same.sort()
    return survey


def complexity(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """McCabe's cyclomatic complexity: 1, and 1 more for each place where the path may part.

    These are ``if``, ``for``, ``while``, ``except``, ``case`` (but for ``case _``), the conditional expression, each
    ``and`` and ``or``, and each ``for`` and ``if`` of a comprehension. Functions inside count for themselves.
    """
    ways = 1
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            continue
        if isinstance(node, _BRANCHES) and not _catches_all(node):
            ways += 1
        if isinstance(node, ast.BoolOp):
            ways += len(node.values) - 1
        if isinstance(node, ast.comprehension):
            ways += len(node.ifs)
        waiting += ast.iter_child_nodes(node)
    return ways


def _catches_all(node: ast.AST) -> bool:
    """Whether this is ``case _:`` or ``case name:``, the ``else`` of a ``match``."""
    if not isinstance(node, ast.match_case) or node.guard is not None:
        return False
    return isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None


def _named(tree: ast.Module) -> list[tuple[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, str]]:
    """Every function and class of a module with its full name, in no order."""
    found: list[tuple[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, str]] = []
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, prefix = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
                found.append((child, prefix + child.name))
                waiting.append((child, f"{prefix}{child.name}."))
            elif not isinstance(child, ast.expr):  # no definition stands in an expression
                waiting.append((child, prefix))
    return found


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body


def _fingerprint(body: list[ast.stmt]) -> bytes:
    """Equal for bodies that differ in layout, comments and docstrings only."""
    digest = blake2b(digest_size=16)
    for statement in body:
        digest.update(ast.dump(statement).encode(errors="surrogatepass"))
    return digest.digest()
