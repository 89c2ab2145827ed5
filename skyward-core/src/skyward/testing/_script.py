"""What a test has scripted for the calls of a session: failures, delays, answers that never come or come too late."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from skyward._clock import Clock
from skyward.errors import ConfigurationError, SkywardError
from skyward.model.nearest import did_you_mean
from skyward.testing._clock import VirtualClock
from skyward.testing._loop import running_clock

__all__ = ["After", "Hang", "Late", "Script", "perform"]

_METHODS = frozenset(
    {"open", "offers", "launch", "describe", "terminate", "extend", "list_owned", "transport", "close"}
    | {"bootstrap", "transport.open", "transport.close"}
)
_ASKED = frozenset({"open", "offers", "launch", "describe", "terminate", "extend", "list_owned"})
"""What ``*`` stands for: the calls that a provider asks its vendor by."""


class Hang:
    """An entry of a script: the call never answers. The class itself serves as well as an instance."""


@frozen
class After:
    """An entry of a script: the call takes effect, and then this happens.

    So ``After(Transient("connection reset"))`` is a reply that was lost, and ``After(Hang)`` one that never comes.
    """

    then: object


@frozen
class Late:
    """An entry of a script: this happens now, and the call takes effect ``seconds`` later, whoever waits for it then.

    So ``Late(30, Transient("time-out"))`` is a machine that comes into being after its client has given it up, and it
    does so although the client may be dead.
    """

    seconds: float
    then: object


class Script(dict[str, list[object]]):
    """What the next calls of a session's methods do, by the method's name; when it is over, calls are ordinary ones.

    Calling it appends: ``cloud.script("launch", Unavailable("sold out"), None)``.
    """

    def __init__(self, entries: Mapping[str, Sequence[object]] | None = None) -> None:
        super().__init__()
        for method, those in (entries or {}).items():
            self(method, *those)

    def __call__(self, method: str, *entries: object) -> None:
        """Append to what the next calls of a method do.

        Raises:
            ConfigurationError: there is no such method.
        """
        if method not in _METHODS and method != "*":
            raise ConfigurationError(f"there is no call {method!r} to script{did_you_mean(method, _METHODS)}")
        self.setdefault(method, []).extend(entries)

    def next(self, method: str) -> object:
        """Take the entry for a call; ``None`` for an ordinary one."""
        queue = self.get(method) or (self.get("*") if method in _ASKED else None)
        return queue.pop(0) if queue else None


async def perform(entry: object, argument: object, work: Callable[[], Any], clock: Clock) -> Any:
    """One call: scripted or ordinary, with a moment before and after its effect at which it can be cancelled."""
    await asyncio.sleep(0)
    answer = await _follow(entry, argument, work, clock)
    await asyncio.sleep(0)
    return answer


async def _follow(entry: object, argument: object, work: Callable[[], Any], clock: Clock) -> Any:
    if _hangs(entry):
        await asyncio.Event().wait()
    if entry is None:
        return work()
    if isinstance(entry, After):
        answer = work()
        return await _follow(entry.then, argument, lambda: answer, clock)
    if isinstance(entry, Late):
        _later(clock, entry.seconds, work)
        return await _follow(entry.then, argument, lambda: None, clock)
    if isinstance(entry, BaseException):
        raise entry.with_traceback(None)  # one exception may be raised many times, and would gather all of them
    if isinstance(entry, (int, float)):
        await _pause(entry, clock)
        return work()
    if callable(entry):
        answer = entry(argument)
        return await answer if inspect.isawaitable(answer) else answer
    raise TypeError(
        f"a script has the entry {entry!r}: give an exception, a number of seconds, a function, Hang, After(...), "
        "Late(...) or None"
    )


def _hangs(entry: object) -> bool:
    return entry is Hang or isinstance(entry, Hang)


def _later(clock: Clock, seconds: float, work: Callable[[], Any]) -> None:
    def quietly() -> None:
        with contextlib.suppress(SkywardError):  # the call has been answered already
            work()

    if isinstance(clock, VirtualClock):
        clock.call_at(clock.monotonic() + seconds, quietly)
    else:
        asyncio.get_running_loop().call_later(seconds, quietly)


async def _pause(seconds: float, clock: Clock) -> None:
    """Let the time pass; at once where it is virtual and no loop moves it."""
    if isinstance(clock, VirtualClock) and running_clock() is not clock:
        clock.advance(seconds)
    else:
        await asyncio.sleep(seconds)
