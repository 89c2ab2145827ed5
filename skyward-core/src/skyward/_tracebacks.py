"""Real traceback objects for frames that ran on another machine.

Each frame becomes a small code object that raises at exactly the remote position, so that the traceback module,
debuggers and notebooks show it, markers under the failing expression included, as they show a local one.
"""

from __future__ import annotations

import ast
import linecache
import threading
from collections import OrderedDict
from types import CodeType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skyward.worker.frames import Columns, FrameRecord, Sources

MAX_FILES = 512
"""Files of nodes whose lines are remembered for display; the least recently shown goes first."""

_remembered: OrderedDict[str, None] = OrderedDict()
_lock = threading.Lock()


class _Raised(Exception):
    """Raised by the generated code only to make a frame."""


def build(frames: Sequence[FrameRecord], sources: Sources, *, node: int, slot: int) -> TracebackType | None:
    """The traceback of ``frames`` (outermost first), or ``None`` when there are none.

    The first frame's function name says where it ran, since its file name cannot: a file that is the same on the
    client keeps its name, so that it can be opened from the traceback.
    """
    names: dict[str, str] = {}
    traceback: TracebackType | None = None
    for at in range(len(frames) - 1, -1, -1):
        filename, name, qualname, module, line, columns = frames[at]
        if filename not in names:
            # The compiler takes neither NUL nor lone surrogates in a file name.
            clean = filename.encode("utf-8", "backslashreplace").decode().replace("\0", "?")
            names[filename] = local_name(clean, sources.get(filename, {}), node=node)
        if at == 0:
            name = f"{name} [node {node}, slot {slot}]"
        code = _code(names[filename], name, qualname, max(1, line), columns)
        traceback = _step(code, module, traceback)
    return traceback


def local_name(filename: str, lines: dict[int, str], *, node: int) -> str:
    """The name under which the client can show ``filename`` of a node.

    The same name if the client has the file with the same ``lines``, or if the node could not read it and the client
    can (code sent by value comes from the client's file). Otherwise ``<node 0>/path/file.py``, whose lines are put
    into ``linecache`` such that ``checkcache`` leaves them alone.
    """
    linecache.checkcache(filename)
    local = linecache.getlines(filename)
    if lines:
        if all(number <= len(local) and local[number - 1].rstrip("\r\n") == text for number, text in lines.items()):
            return filename
    elif local or (filename.startswith("<") and filename.endswith(">")):
        return filename
    alias = f"<node {node}>{'' if filename.startswith('/') else '/'}{filename}"
    if lines:
        _remember(alias, lines)
    return alias


def _remember(alias: str, lines: dict[int, str]) -> None:
    with _lock:
        entry = linecache.cache.get(alias)
        known = list(entry[2]) if entry is not None and len(entry) == 4 else []
        known.extend(["\n"] * (max(lines) - len(known)))
        for number, text in lines.items():
            known[number - 1] = text + "\n"
        # Without a modification time, checkcache takes the lines for those of an importer and keeps them.
        linecache.cache[alias] = (sum(map(len, known)), None, known, alias)
        _remembered[alias] = None
        _remembered.move_to_end(alias)
        while len(_remembered) > MAX_FILES:
            linecache.cache.pop(_remembered.popitem(last=False)[0], None)


def _code(filename: str, name: str, qualname: str, line: int, columns: Columns | None) -> CodeType:
    end, first, last = columns or (line, 0, 0)
    try:
        code = _raising(filename, line, end, first, last)
    except ValueError:
        # Generated code may claim positions that run backwards.
        columns = None
        code = _raising(filename, line, line, 0, 0)
    if columns is None:
        code = code.replace(co_firstlineno=line, co_linetable=_lines_only(len(code.co_code) // 2))
    return code.replace(co_name=name, co_qualname=qualname)


def _raising(filename: str, line: int, end: int, first: int, last: int) -> CodeType:
    name = ast.Name("failure", ast.Load(), lineno=line, end_lineno=end, col_offset=first, end_col_offset=last)
    stop = ast.Raise(name, None, lineno=line, end_lineno=end, col_offset=first, end_col_offset=last)
    # Not inherited from this file: a __future__ flag would do no harm, but belongs to another code.
    return compile(ast.Module([stop], []), filename, "exec", dont_inherit=True)


def _lines_only(units: int) -> bytes:
    """A location table of ``units`` code units, all on the first line and without columns (code 13 of its format)."""
    full, rest = divmod(units, 8)
    table = bytes((0x80 | 13 << 3 | 7, 0)) * full
    return table + bytes((0x80 | 13 << 3 | rest - 1, 0)) if rest else table


def _step(code: CodeType, module: str, following: TracebackType | None) -> TracebackType:
    try:
        exec(code, {"__name__": module, "failure": _Raised})  # noqa: S102 - code made above, of one raise statement
    except _Raised as raised:
        own = raised.__traceback__
        assert own is not None
        assert own.tb_next is not None
        made = own.tb_next
        return TracebackType(following, made.tb_frame, made.tb_lasti, made.tb_lineno)
    raise AssertionError("the generated code did not raise")
