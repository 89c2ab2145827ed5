"""Calls that have not happened yet, and where they may be sent.

Calling a compute function gives a ``PendingCompute``: the function and its arguments, and nothing has run. An operator
with the pending on its left sends it to a *target*, which is a pool or the module ``skyward`` (the current pool):

    train(1) >> pool                  one node; the function's result
    train(1) @ pool                   every node; a tuple of results in node order
    (train(1) & train(2)) >> pool     in parallel; a tuple of results in the order written
    gather(*calls) >> pool            the same for any number of calls

A pending may be dispatched any number of times, each time afresh. One that is dropped without having been dispatched
warns, for that is nearly always a forgotten ``>> pool``. Using one as if it were its result raises and says so.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, overload

from skyward._misuse import (
    NotAResult,
    call,
    refuse_lost_operand,
    silence,
    warn_never_dispatched,
    wrong_operand,
    wrong_target,
)
from skyward._precedence import followed_by_and

if TYPE_CHECKING:
    from types import CodeType

    from skyward._sharing import Sharing
    from skyward.function import ComputeFunction

__all__ = ["PendingBatch", "PendingCompute", "Target", "gather"]


class Target(Protocol):
    """What a pending can be sent to: anything with these three, such as a pool or the module ``skyward``."""

    def run[R](self, pending: PendingCompute[R], /) -> R:
        """Run ``pending`` on one node and return its result, or raise what it raised."""
        ...

    def run_batch[*Ts](self, batch: PendingBatch[*Ts], /) -> tuple[*Ts]:
        """Run all of ``batch`` in parallel; results in the batch's order."""
        ...

    def broadcast[R](self, pending: PendingCompute[R], /) -> tuple[R, ...]:
        """Run ``pending`` once on every node; results in node order."""
        ...


class PendingCompute[R](NotAResult):
    """A call of a compute function that has not been dispatched: ``function(*args, **kwargs)``.

    The arguments are held as they are, and pickled when the call is dispatched. ``dispatched`` turns true at the first
    attempt, whatever comes of it. ``origin`` is the code object and the bytecode offset that made the call.
    ``sharing``, if set, has large arrays sent once to each node, however many calls have them (`skyward.spi.Sharing`).
    """

    __slots__ = ("args", "dispatched", "function", "kwargs", "origin", "sharing")

    function: ComputeFunction[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    dispatched: bool
    origin: tuple[CodeType, int] | None
    sharing: Sharing | None

    def __init__(
        self,
        function: ComputeFunction[..., R],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        origin: tuple[CodeType, int] | None = None,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = {} if kwargs is None else kwargs
        self.origin = origin
        self.sharing = None
        self.dispatched = False  # last: what was torn apart before has nothing to be warned of

    def __rshift__(self, target: Target) -> R:
        """Run on one node of ``target`` and return the result."""
        self.dispatched = True
        try:
            run, _ = target.run, target.run_batch
        except AttributeError:
            raise wrong_target(self, ">>", target) from None
        if isinstance(target, type):
            raise wrong_target(self, ">>", target)
        if followed_by_and(frame := sys._getframe(1)):
            refuse_lost_operand(self, frame)
        return run(self)

    def __matmul__(self, target: Target) -> tuple[R, ...]:
        """Run once on every node of ``target``; the results in node order."""
        self.dispatched = True
        try:
            broadcast, _ = target.broadcast, target.run_batch
        except AttributeError:
            raise wrong_target(self, "@", target) from None
        if isinstance(target, type):
            raise wrong_target(self, "@", target)
        if followed_by_and(frame := sys._getframe(1)):
            refuse_lost_operand(self, frame)
        return broadcast(self)

    # With R in the place of Q, checkers would hold R to be invariant, for a batch's types are: a call that gives an int
    # would not do where one that gives a float is asked for.
    @overload
    def __and__[Q, S](self: PendingCompute[Q], other: PendingCompute[S]) -> PendingBatch[Q, S]: ...
    @overload
    def __and__[Q, *Us](self: PendingCompute[Q], other: PendingBatch[*Us]) -> PendingBatch[Q, *Us]: ...
    def __and__(self, other: Any) -> PendingBatch[*tuple[Any, ...]]:
        """Put two calls side by side, to be run in parallel."""
        return _join(self, other)

    def __del__(self) -> None:
        if not getattr(self, "dispatched", True):
            warn_never_dispatched((self,))

    def __repr__(self) -> str:
        return f"<pending {call(self)}>"


class PendingBatch[*Ts](NotAResult):
    """Calls to run in parallel: ``pendings``, in the order of the results.

    With ``return_exceptions`` an exception that a call raises stands in its place among the results. Otherwise the
    first error, in the batch's order, is raised after every call has ended.
    """

    __slots__ = ("absorbed", "pendings", "return_exceptions")

    pendings: tuple[PendingCompute[Any], ...]
    return_exceptions: bool
    absorbed: bool

    def __init__(self, pendings: tuple[PendingCompute[Any], ...], *, return_exceptions: bool = False) -> None:
        self.absorbed = False
        self.pendings = pendings
        self.return_exceptions = return_exceptions

    @property
    def dispatched(self) -> bool:
        """Whether every call in it has been dispatched. Setting it marks them all."""
        return all(pending.dispatched for pending in self.pendings)

    @dispatched.setter
    def dispatched(self, value: bool) -> None:
        for pending in self.pendings:
            pending.dispatched = value

    def __rshift__(self, target: Target) -> tuple[*Ts]:
        """Run all in parallel on ``target``; the results in the batch's order."""
        self.dispatched = True
        try:
            run_batch, _ = target.run_batch, target.run
        except AttributeError:
            raise wrong_target(self, ">>", target) from None
        if isinstance(target, type):
            raise wrong_target(self, ">>", target)
        if followed_by_and(frame := sys._getframe(1)):
            refuse_lost_operand(self, frame)
        return run_batch(self)

    if not TYPE_CHECKING:

        def __matmul__(self, target: object) -> NoReturn:
            self.dispatched = True
            raise TypeError(
                "a batch cannot be broadcast: `@` sends one call to every node; "
                "write `call @ pool` for each call, or `batch >> pool` to run each call once"
            )

    @overload
    def __and__[S](self, other: PendingCompute[S]) -> PendingBatch[*Ts, S]: ...
    @overload
    def __and__[A](self, other: PendingBatch[A]) -> PendingBatch[*Ts, A]: ...
    @overload
    def __and__[A, B](self, other: PendingBatch[A, B]) -> PendingBatch[*Ts, A, B]: ...
    @overload
    def __and__[A, B, C](self, other: PendingBatch[A, B, C]) -> PendingBatch[*Ts, A, B, C]: ...
    @overload
    def __and__[A, B, C, D](self, other: PendingBatch[A, B, C, D]) -> PendingBatch[*Ts, A, B, C, D]: ...
    @overload
    def __and__(self, other: PendingBatch[*tuple[Any, ...]]) -> PendingBatch[*tuple[Any, ...]]: ...
    def __and__(self, other: Any) -> PendingBatch[*tuple[Any, ...]]:
        """Add a call, or all calls of another batch, at the end."""
        return _join(self, other)

    def __del__(self) -> None:
        if not getattr(self, "absorbed", True) and (waiting := [p for p in self.pendings if not p.dispatched]):
            warn_never_dispatched(waiting)

    def __repr__(self) -> str:
        return f"<pending {call(self)}>"


def _join(left: Any, right: Any) -> PendingBatch[*tuple[Any, ...]]:
    calls: list[PendingCompute[Any]] = []
    for side in (left, right):
        if isinstance(side, PendingCompute):
            calls.append(side)
        elif isinstance(side, PendingBatch):
            calls.extend(side.pendings)
        else:
            raise wrong_operand(left, right)
    for side in (left, right):
        if isinstance(side, PendingBatch):
            if side.return_exceptions:
                left.dispatched = right.dispatched = True
                raise TypeError(
                    "a batch with return_exceptions=True cannot be joined by `&`: "
                    "pass all its calls to one gather(..., return_exceptions=True)"
                )
            side.absorbed = True
    return PendingBatch(tuple(calls))


type _P[R] = PendingCompute[R]
type _Off = Literal[False]
type _On = Literal[True]
type _E = BaseException


# fmt: off
@overload
def gather(*, return_exceptions: bool = False) -> PendingBatch[()]: ...
@overload
def gather[A](a: _P[A], /, *, return_exceptions: _Off = False) -> PendingBatch[A]: ...
@overload
def gather[A, B](a: _P[A], b: _P[B], /, *, return_exceptions: _Off = False) -> PendingBatch[A, B]: ...
@overload
def gather[A, B, C](
    a: _P[A], b: _P[B], c: _P[C], /, *, return_exceptions: _Off = False
) -> PendingBatch[A, B, C]: ...
@overload
def gather[A, B, C, D](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], /, *, return_exceptions: _Off = False
) -> PendingBatch[A, B, C, D]: ...
@overload
def gather[A, B, C, D, E](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], /, *, return_exceptions: _Off = False
) -> PendingBatch[A, B, C, D, E]: ...
@overload
def gather[A, B, C, D, E, F](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], f: _P[F], /, *, return_exceptions: _Off = False
) -> PendingBatch[A, B, C, D, E, F]: ...
@overload
def gather[A, B, C, D, E, F, G](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], f: _P[F], g: _P[G], /, *, return_exceptions: _Off = False
) -> PendingBatch[A, B, C, D, E, F, G]: ...
@overload
def gather[A, B, C, D, E, F, G, H](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], f: _P[F], g: _P[G], h: _P[H], /, *,
    return_exceptions: _Off = False,
) -> PendingBatch[A, B, C, D, E, F, G, H]: ...
@overload
def gather[R](*pendings: _P[R], return_exceptions: _Off = False) -> PendingBatch[*tuple[R, ...]]: ...
@overload
def gather[A](a: _P[A], /, *, return_exceptions: _On) -> PendingBatch[A | _E]: ...
@overload
def gather[A, B](a: _P[A], b: _P[B], /, *, return_exceptions: _On) -> PendingBatch[A | _E, B | _E]: ...
@overload
def gather[A, B, C](
    a: _P[A], b: _P[B], c: _P[C], /, *, return_exceptions: _On
) -> PendingBatch[A | _E, B | _E, C | _E]: ...
@overload
def gather[A, B, C, D](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], /, *, return_exceptions: _On
) -> PendingBatch[A | _E, B | _E, C | _E, D | _E]: ...
@overload
def gather[A, B, C, D, E](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], /, *, return_exceptions: _On
) -> PendingBatch[A | _E, B | _E, C | _E, D | _E, E | _E]: ...
@overload
def gather[A, B, C, D, E, F](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], f: _P[F], /, *, return_exceptions: _On
) -> PendingBatch[A | _E, B | _E, C | _E, D | _E, E | _E, F | _E]: ...
@overload
def gather[A, B, C, D, E, F, G](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], f: _P[F], g: _P[G], /, *, return_exceptions: _On
) -> PendingBatch[A | _E, B | _E, C | _E, D | _E, E | _E, F | _E, G | _E]: ...
@overload
def gather[A, B, C, D, E, F, G, H](
    a: _P[A], b: _P[B], c: _P[C], d: _P[D], e: _P[E], f: _P[F], g: _P[G], h: _P[H], /, *,
    return_exceptions: _On,
) -> PendingBatch[A | _E, B | _E, C | _E, D | _E, E | _E, F | _E, G | _E, H | _E]: ...
@overload
def gather[R](*pendings: _P[R], return_exceptions: bool) -> PendingBatch[*tuple[R | _E, ...]]: ...
# fmt: on
def gather(*pendings: Any, return_exceptions: bool = False) -> Any:
    """Group calls to run in parallel.

    ``a, b = gather(f(1), g(2)) >> pool`` for a known number of calls, ``gather(*calls) >> pool`` for any number.

    With ``return_exceptions`` an exception that a call raises stands in its place among the results, and nothing is
    raised. No calls at all make an empty batch, whose result is ``()``. Raises ``TypeError`` for what is not a call.
    """
    for position, item in enumerate(pendings, 1):
        if not isinstance(item, PendingCompute):
            silence(*pendings)
            raise TypeError(f"gather() argument {position} is {_remedy(item)}")
    return PendingBatch(pendings, return_exceptions=return_exceptions)


def _remedy(item: object) -> str:
    if hasattr(item, "__skyward_local__"):
        name = getattr(item, "name", "f")
        return f"the compute function {name}, not a call of it: write {name}(...)"
    if isinstance(item, PendingBatch):
        return "a batch: join batches by `&`, or pass their calls one by one"
    if hasattr(item, "__iter__") and not isinstance(item, (str, bytes)):
        return f"a {type(item).__name__}: unpack it, `gather(*calls)`"
    return (
        f"a {type(item).__name__}, not a call of a compute function: "
        "has it been dispatched already, or lacks its function @sky.compute?"
    )
