"""What is said when a pending computation is used as if it were its result, or combined so that it cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from skyward import _precedence
from skyward.errors import SkywardWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

__all__ = [
    "NotAResult",
    "call",
    "refuse_lost_operand",
    "silence",
    "warn_never_dispatched",
    "wrong_operand",
    "wrong_target",
]

_RESULTS = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)

_warned: dict[Any, Any] = {}
"""The warnings module's memory of what it has shown, so that a loop's warning is printed once."""


def _refuse(misuse: str) -> Callable[..., NoReturn]:
    def method(self: Any, *_: object) -> NoReturn:
        self.dispatched = True
        raise TypeError(
            f"{call(self)} has not run yet, so {misuse}: dispatch it first, `result = {call(self)} >> pool`"
        )

    return method


class NotAResult:
    """Refuses what only a result can do, and says how to get the result."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 -- it never returns, and checkers see that
        _refuse("it is neither true nor false")(self)

    if not TYPE_CHECKING:  # hidden from checkers, so that they report these uses themselves
        __iter__ = _refuse("it cannot be iterated or unpacked")
        __len__ = _refuse("it has no length")
        __getitem__ = _refuse("it has no items")
        __lt__ = __le__ = __gt__ = __ge__ = _refuse("it cannot be compared")
        __array_ufunc__ = None  # numpy leaves its operators to the methods here

        def __eq__(self, other: object) -> bool:
            if isinstance(other, _RESULTS) or hasattr(other, "__array_ufunc__"):
                if isinstance(other, NotAResult):
                    return self is other
                _refuse("it cannot be compared with a value")(self)
            return NotImplemented

        __hash__ = object.__hash__

        def __await__(self) -> NoReturn:
            self.dispatched = True
            raise TypeError(f"{call(self)} cannot be awaited by itself: write `await pool.arun(...)` with it")

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_") or name == "dispatched":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise AttributeError(
                f"{call(self)} has not run yet, so it has no attribute {name!r}: "
                f"dispatch it first, `({call(self)} >> pool).{name}`"
            )

        def __rand__(self, other: object) -> NoReturn:
            raise wrong_operand(other, self)

        def __rrshift__(self, other: object) -> NoReturn:
            self.dispatched = True
            raise TypeError(f"the call stands on the left of `>>`: write `{call(self)} >> pool`")

        def __rmatmul__(self, other: object) -> NoReturn:
            self.dispatched = True
            raise TypeError(f"the call stands on the left of `@`: write `{call(self)} @ pool`")

        def __reduce_ex__(self, protocol: object) -> NoReturn:
            self.dispatched = True
            raise TypeError(
                f"{call(self)} has not run yet and cannot be copied or sent: "
                f"dispatch it first, `{call(self)} >> pool`, and pass the result on"
            )


def call(pending: Any) -> str:
    """How the call reads in source, without its arguments: they may be large."""
    if hasattr(type(pending), "pendings"):
        calls = [call(item) for item in pending.pendings[:3]]
        return f"({' & '.join(calls)}{' & ...' if len(pending.pendings) > 3 else ''})" if calls else "gather()"
    return f"{pending.function.name}({'...' if pending.args or pending.kwargs else ''})"


def warn_never_dispatched(waiting: Sequence[Any]) -> None:
    """Warn that these pendings die without having been dispatched, at the line that made the first."""
    for pending in waiting:
        pending.dispatched = True
    names = call(waiting[0]) if len(waiting) == 1 else f"a batch of {len(waiting)} calls, the first {call(waiting[0])},"
    remedy = call(waiting[0]) if len(waiting) == 1 else "batch"
    origin = waiting[0].origin
    where, line = (origin[0].co_filename, _precedence.line_of(*origin)) if origin else ("<unknown>", 0)
    message = f"{names} was never dispatched, so nothing ran: write `{remedy} >> pool` ({where}:{line})"
    try:
        import warnings  # only a program with this mistake pays for it
    except ImportError:  # the interpreter is shutting down
        return
    warnings.warn_explicit(message, SkywardWarning, where, line or 1, registry=_warned)


def silence(*values: object) -> None:
    """Let no call among ``values``, or directly inside one, warn that it was not dispatched: it has been refused."""
    for value in values:
        for item in value if isinstance(value, (list, tuple, set)) else (value,):
            if isinstance(item, NotAResult):
                item.dispatched = True  # type: ignore[attr-defined]


def wrong_target(pending: Any, operator: str, target: object) -> TypeError:
    """The error for a right operand of ``>>`` or ``@`` that nothing can be sent to."""
    kind = "None" if target is None else type(target).__name__
    if isinstance(target, type):
        kind = f"the class {target.__name__}"
    return TypeError(
        f"{call(pending)} cannot be sent to {kind}: the right operand must be a pool, "
        f"`{call(pending)} {operator} pool`, or the module skyward, `{call(pending)} {operator} sky`"
    )


def wrong_operand(left: Any, right: Any) -> TypeError:
    """The error for an ``&`` with something else than a call on one side."""
    names: list[str] = []
    other: Any = None
    for side in (left, right):
        if _is_pending(side):
            side.dispatched = True
            names.append(call(side))
        else:
            other = side
            names.append("other(...)")
    if hasattr(other, "__skyward_local__"):
        return TypeError(
            f"`&` joins calls, and {other.name} is a function that was not called: write {other.name}(...)"
        )
    return TypeError(
        f"`&` joins calls that have not run, and one side is a {type(other).__name__}: `>>` and `@` bind tighter than "
        f"`&`, so parentheses are needed: `({' & '.join(names)}) >> pool`"
    )


def refuse_lost_operand(pending: Any, frame: FrameType) -> None:
    """Raise ``TypeError`` if the result of dispatching ``pending`` would be joined to a call by ``&``.

    ``frame`` is where the operator is evaluated. Nothing has run when this raises.
    """
    operand = _precedence.left_operand(frame.f_code, frame.f_lasti)
    if operand is None:
        return
    lost = [value for name in operand.names if (value := _variable(frame, name)) is not pending and _waits(value)]
    if operand.calls:
        lost += _made_within(frame, operand)
    if not lost:
        return
    written = " & ".join([*map(call, lost), call(pending)])
    for item in lost:
        item.dispatched = True
    raise TypeError(
        f"`>>` and `@` bind tighter than `&`, so this would dispatch {call(pending)} alone and lose the rest; "
        f"nothing has run: write `({written}) >> pool`"
    )


def _is_pending(value: Any) -> bool:
    return isinstance(value, NotAResult)


def _variable(frame: FrameType, name: str) -> Any:
    return frame.f_locals.get(name, frame.f_globals.get(name))


def _waits(value: Any) -> bool:
    return _is_pending(value) and not value.dispatched


def _made_within(frame: FrameType, operand: _precedence.Operand) -> list[Any]:
    """The pendings made by a call within ``operand`` that still wait, in source order."""
    import gc

    # Looking through all objects is slow, but no bookkeeping would be cheaper: hardly any program comes here, and every
    # call of a compute function would pay for it.
    found: list[tuple[_precedence.Position, Any]] = []
    for item in gc.get_objects():
        if _is_pending(item) and (origin := getattr(item, "origin", None)) and origin[0] is frame.f_code:
            start = _precedence.start_of(*origin)
            if start is not None and operand.start <= start < operand.stop and _waits(item):
                found.append((start, item))
    return [item for _, item in sorted(found, key=lambda pair: pair[0])]
