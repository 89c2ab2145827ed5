"""What ended the functions that ran together: which failure was the first cause, and what becomes of the call. Pure.

When one of them fails, the others follow within moments: their connections to it close, and their own errors arrive at
the client at about the same time as the first one, in any order, or even before it. The cause is chosen among all:

* A machine that was lost comes first. No function of the group can have done that.
* Then a process that died: it makes others raise, while an exception ends no other process by itself.
* Then what was raised, in the order of arrival.
* Then what a function raised of its own after it had been told to stop. The one that failed first may well be heard of
  last: it closes its connections, which the others feel at once, and reports only when it has cleaned up.
* Then what the integration calls a consequence, such as a collective operation whose peer is gone, and what a function
  raised because it was stopped.
"""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from skyward.errors import NodeLost, OutcomeUnknown, PoolTimeout, SlotDied, TaskCancelled

__all__ = [
    "End",
    "Fate",
    "Judge",
    "account",
    "fate_of",
    "first_cause",
    "is_certain",
    "may_run_again",
    "said_by",
    "was_killed",
]

_log = logging.getLogger("skyward.tasks")

type Judge = Callable[[BaseException], bool]
"""Whether an error is the consequence of another member's failure; an integration's."""

_TOLD = 8
"""Kinds of ends that an account names one by one."""
_DEATHS = (SlotDied, OutcomeUnknown)
_NUMBER = re.compile(r"\d+")
_WIDTH = 200
"""Characters of another member's error that an account shows."""


class Fate(IntEnum):
    """How a function of a group ended. Of two failures the one with the lower value is the cause."""

    LOST = 0
    DIED = 1
    RAISED = 2
    LATE = 3
    """It failed of its own, it seems, after it had been told to stop."""
    FOLLOWED = 4
    STOPPED = 5
    COMPLETED = 6


class End(NamedTuple):
    """The end of one rank; ``error`` is what it ended with, ``None`` if it completed."""

    rank: int
    fate: Fate
    error: BaseException | None


def fate_of(error: BaseException | None, *, stopped: bool, judge: Judge | None = None) -> Fate:
    """Sort the end of one rank.

    Args:
        error: what it ended with.
        stopped: whether it had been told to stop before.
        judge: the integration's; what it raises counts as no.
    """
    if error is None:
        return Fate.COMPLETED
    if isinstance(error, (NodeLost, PoolTimeout, TaskCancelled)):
        return Fate.STOPPED if isinstance(error, TaskCancelled) else Fate.LOST
    if judge is not None and _judged(judge, error):
        return Fate.FOLLOWED
    if stopped:
        return _of_stopped(error, may_be_late=judge is not None)
    return Fate.DIED if isinstance(error, _DEATHS) else Fate.RAISED


def _of_stopped(error: BaseException, *, may_be_late: bool) -> Fate:
    if isinstance(error, SlotDied):  # native code may crash by being stopped, and no memory runs out by that
        return Fate.DIED if error.signal == signal.SIGKILL else Fate.LATE
    interrupted = any(isinstance(each, KeyboardInterrupt) for each in _chain(error))
    return Fate.LATE if may_be_late and not interrupted and not isinstance(error, OutcomeUnknown) else Fate.FOLLOWED


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that it was raised from or on the way of, each once."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            yield each
            seen.add(id(each))
            left += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
            left += (each.__cause__, each.__context__)


def was_killed(facts: Mapping[str, Any]) -> bool:
    """Whether a slot's process was killed because its task did not stop, by what its supervisor says of its end."""
    return facts.get("killed_for") == "cancelled" and facts["signal"] == signal.SIGKILL


def _judged(judge: Judge, error: BaseException) -> bool:
    try:
        return bool(judge(error))
    except Exception:  # noqa: BLE001  an integration's code
        _log.exception("is_consequence of an integration failed at %r, which counts as no", error)
        return False


def is_certain(fate: Fate, judge: Judge | None) -> bool:
    """Whether nothing that could still arrive would be the cause in the place of this: the others can be stopped."""
    return fate <= Fate.DIED or (fate == Fate.RAISED and judge is not None)


def first_cause(ends: Sequence[End]) -> End | None:
    """The failure that explains the others, of ends in the order of arrival; ``None`` if all completed."""
    failed = [end for end in ends if end.fate != Fate.COMPLETED]
    return min(failed, key=_weight, default=None)


def _weight(end: End) -> tuple[Fate, bool]:
    """What explains the others comes first. Of mere consequences, a death tells more than an error."""
    return end.fate, end.fate == Fate.FOLLOWED and not isinstance(end.error, _DEATHS)


def may_run_again(cause: End) -> bool:
    """Whether ``retry`` is for this first cause: a machine or a process was lost, no function gave an answer.

    So too for a process whose death the integration takes for a consequence, where nothing was found that it follows.
    """
    return isinstance(cause.error, (NodeLost, *_DEATHS))


def account(name: str, places: Sequence[tuple[int, int]], ends: Sequence[End], cause: End) -> str:
    """Say which rank an error is of, and what became of the others.

    Args:
        name: the function's.
        places: node and slot of each rank.
        ends: those of all ranks.
        cause: the one of them whose error it is.
    """
    node, slot = places[cause.rank]
    alike: dict[str, tuple[str, list[int]]] = {}  # what differs in numbers alone, as in ports, is told once
    for end in sorted(ends):
        if end.rank != cause.rank:
            said = _described(end)
            alike.setdefault(_NUMBER.sub("", said), (said, []))[1].append(end.rank)
    told = [f"{_ranks(ranks)} {how}" for how, ranks in alike.values()]
    if len(told) > _TOLD:
        told[_TOLD:] = [f"{sum(len(ranks) for _, ranks in list(alike.values())[_TOLD:])} more failed in other ways"]
    others = f"; of the others, {'; '.join(told)}" if told else ""
    return f"this ended rank {cause.rank} (node {node}, slot {slot}) of the {len(places)} of {name}{others}"


def _described(end: End) -> str:
    if end.fate == Fate.COMPLETED:
        return "had completed"
    if end.fate == Fate.STOPPED:
        return "was stopped"
    said = " ".join(said_by(end.error).split())
    return f"ended with {said if len(said) <= _WIDTH else said[: _WIDTH - 3] + '...'}"


def said_by(error: BaseException | None) -> str:
    """An error's class and text; the class alone of one that has none, since its text is the user's code."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception as reason:  # noqa: BLE001
        return f"{name}, whose text cannot be had: {type(reason).__name__}"


def _ranks(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"each of ranks {', '.join(map(str, ranks))}"
