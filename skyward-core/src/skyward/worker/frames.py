"""Turn a traceback into plain values that can leave the node.

Code objects and frames do not pickle, and a file that stands on the node need not stand on the client. So each frame
is reduced to its names and positions, and the source lines around it are read here, where the file is.
"""

from __future__ import annotations

import linecache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType

type Columns = tuple[int, int, int]
"""Last line, first column and last column (UTF-8 bytes, from 0) of what failed; the first line is the frame's own."""

type FrameRecord = tuple[str, str, str, str, int, Columns | None]
"""File name, function name, qualified name, module name, line and columns (``None`` when the code carries none)."""

type Sources = dict[str, dict[int, str]]
"""For each file name, its known lines by number, without line ends."""

MAX_FRAMES = 200
"""Frames kept of one traceback. A runaway recursion has a thousand, all alike; the two ends tell the story."""

CONTEXT_LINES = 5
"""Source lines shipped before and after each frame's own, for tools that show more than one."""

MAX_COLUMNS = 4096
"""Characters kept of one source line; generated code can have lines of megabytes."""

_MACHINERY = ("skyward", "cloudpickle")


def capture(traceback: TracebackType | None, sources: Sources) -> list[FrameRecord]:
    """Describe the frames of ``traceback``, outermost first, and add their source lines to ``sources``.

    Leading frames of skyward and cloudpickle, through which every task is called, are left out; if nothing else is
    there, they are all that can explain the failure and are kept. Of more than ``MAX_FRAMES`` frames the middle is
    replaced by one that says how many are missing.
    """
    steps: list[TracebackType] = []
    while traceback is not None:
        steps.append(traceback)
        traceback = traceback.tb_next
    start = next((at for at, step in enumerate(steps) if not _is_machinery(step.tb_frame)), 0)
    steps = steps[start:]
    if len(steps) <= MAX_FRAMES:
        return [_describe(step, sources) for step in steps]
    half = MAX_FRAMES // 2
    head = [_describe(step, sources) for step in steps[:half]]
    tail = [_describe(step, sources) for step in steps[-half:]]
    gap = f"<{len(steps) - 2 * half} frames left out>"
    return [*head, (gap, "...", "...", "", 1, None), *tail]


def _is_machinery(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return isinstance(module, str) and module.partition(".")[0] in _MACHINERY


def _describe(step: TracebackType, sources: Sources) -> FrameRecord:
    frame = step.tb_frame
    code = frame.f_code
    filename = code.co_filename.replace("\0", "?")  # which no file system takes, and linecache on Python 3.12 neither
    line = step.tb_lineno or code.co_firstlineno or 1
    columns: Columns | None = None
    last_line = line
    if step.tb_lasti >= 0:
        # Code units are two bytes wide, so the instruction's number is half its offset.
        start, end, first, last = next(islice(code.co_positions(), step.tb_lasti // 2, None), (None,) * 4)
        if start == line and end is not None and first is not None and last is not None:
            columns = (end, first, last)
            last_line = end
    _read(filename, frame, line, last_line, sources)
    module = frame.f_globals.get("__name__")
    return (filename, code.co_name, code.co_qualname, module if isinstance(module, str) else "", line, columns)


def _read(filename: str, frame: FrameType, first: int, last: int, sources: Sources) -> None:
    known = sources.get(filename)
    if known is None:
        linecache.checkcache(filename)
        known = sources[filename] = {}
    lines = linecache.getlines(filename, frame.f_globals)
    for number in range(max(1, first - CONTEXT_LINES), min(len(lines), last + CONTEXT_LINES) + 1):
        known[number] = lines[number - 1].rstrip("\r\n")[:MAX_COLUMNS]
