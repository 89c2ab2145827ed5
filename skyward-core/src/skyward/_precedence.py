"""Notice ``a() & b() >> pool`` before anything runs.

Python reads it as ``a() & (b() >> pool)``: ``b`` alone would be dispatched, and the rest would fail after it had run.
When ``>>`` is evaluated, the instruction after it in the caller's code tells whether its result goes straight into an
``&``. Only then the left operand is looked at: a name that holds a pending computation, or a call within the operand's
span of the source that made one. Without source positions (``-X no_debug_ranges``) nothing is noticed here, and ``&``
itself refuses its operand afterwards.

Nothing here knows the classes of pendings, so that ``computation`` can import it.
"""

from __future__ import annotations

import sys
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["Operand", "followed_by_and", "left_operand", "line_of", "start_of"]

type Position = tuple[int, int]
"""Line (from 1) and column (from 0, in UTF-8 bytes)."""


class Operand:
    """The left operand of an ``&``: from ``start`` up to, not including, ``stop``.

    ``names`` are the variables that it reads when it consists of nothing else, ``calls`` whether it calls something.
    """

    __slots__ = ("calls", "names", "start", "stop")

    def __init__(self, start: Position, stop: Position, names: tuple[str, ...], *, calls: bool) -> None:
        self.start = start
        self.stop = stop
        self.names = names
        self.calls = calls


def _learn() -> tuple[int, int, frozenset[int]]:
    """The opcode of binary operators, the bytes that one takes with its caches, and the arguments of & and &=.

    Learnt from compiled samples: the width and the numbers differ between versions of Python.
    """
    from opcode import opmap  # not needed by a program that never dispatches

    operator = opmap.get("BINARY_OP")
    if operator is None or sys.implementation.name != "cpython":
        return -1, 0, frozenset()
    plain = compile("a & (b >> c)", "<sample>", "eval").co_code
    in_place = compile("a &= b >> c", "<sample>", "exec").co_code
    shift, both = (at for at in range(0, len(plain), 2) if plain[at] == operator)
    _, assigned = (at for at in range(0, len(in_place), 2) if in_place[at] == operator)
    return operator, both - shift, frozenset((plain[both + 1], in_place[assigned + 1]))


_OPERATOR, _WIDTH, _ANDS = _learn()


def followed_by_and(frame: FrameType) -> bool:
    """Whether ``frame`` evaluates a binary operator now whose result is the right operand of & or &=."""
    code = frame.f_code.co_code
    at = frame.f_lasti
    after = at + _WIDTH
    return code[at] == _OPERATOR and after + 1 < len(code) and code[after] == _OPERATOR and code[after + 1] in _ANDS


@lru_cache(maxsize=256)
def left_operand(code: CodeType, at: int) -> Operand | None:
    """What stands left of the ``&`` that takes the result of the operator at offset ``at``."""
    import dis  # costs milliseconds, and almost no program comes here

    start = start_of(code, at + _WIDTH)
    stop = start_of(code, at)
    if start is None or stop is None:
        return None
    inside = [
        step
        for step in dis.get_instructions(code)
        if step.positions is not None
        and step.positions.lineno is not None
        and step.positions.col_offset is not None
        and start <= (step.positions.lineno, step.positions.col_offset) < stop
        and step.offset < at
    ]
    names: list[str] = []
    only_names = True
    for step in inside:
        if step.opname.startswith(("LOAD_FAST", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF")):
            names.extend(step.argval if isinstance(step.argval, tuple) else (step.argval,))
        elif step.opname not in {"BINARY_OP", "CACHE", "NOP"}:
            only_names = False
    return Operand(
        start,
        stop,
        tuple(names) if only_names else (),
        calls=any(step.opname.startswith("CALL") for step in inside),
    )


def start_of(code: CodeType, at: int) -> Position | None:
    """Where the expression starts that the instruction at offset ``at`` evaluates, if that is known."""
    for index, (line, _, column, _) in enumerate(code.co_positions()):
        if index * 2 == at:
            return None if line is None or column is None else (line, column)
    return None


def line_of(code: CodeType, at: int) -> int:
    """The line of the instruction at offset ``at``; the code's first line where that is not known."""
    for index, (line, _, _, _) in enumerate(code.co_positions()):
        if index * 2 == at and line is not None:
            return line
    return code.co_firstlineno
