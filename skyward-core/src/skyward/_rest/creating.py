"""Having something made once: sent again when nothing came of it for certain, else looked for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from attrs import frozen

from skyward._rest.answer import Answer, Question, Silence
from skyward._rest.attempts import Attempts
from skyward._rest.refusals import CERTAIN, UNCLEAR
from skyward.errors import ProviderError, Transient

__all__ = ["create"]

_log = logging.getLogger("skyward.rest")

_LOOKS = (0.0, 1.0, 2.0, 3.0, 4.0)
"""Seconds before each look for what an unclear request may have made: vendors list a new thing after seconds."""


@frozen
class _Unclear:
    """Nobody knows whether a request had its effect."""

    why: str


async def create[T](
    attempts: Attempts, question: Question, into: type[T], find: Callable[[], Awaitable[T | None]]
) -> T:
    """See `RestClient.create`."""

    async def attempt() -> T | _Unclear:
        sent = await attempts.answered(question)
        if isinstance(sent, Silence):
            error = attempts.unheard(question, sent)
            if not sent.sent:
                raise error
            return _Unclear(str(error))
        refused = attempts.refused(sent)
        if refused is not None and _certain(sent, refused):
            raise refused
        if refused is not None:
            return _Unclear(str(refused))
        try:
            made: T = attempts.made(sent, into)
        except ProviderError as misfit:
            return _Unclear(str(misfit))
        return made

    outcome = await attempts.waits.persistently(attempt, attempts.patience)
    return await _found(attempts, outcome.why, find) if isinstance(outcome, _Unclear) else outcome


def _certain(answer: Answer, error: ProviderError) -> bool:
    """Whether a refusal had no effect for certain."""
    return (answer.status < 500 and answer.status not in UNCLEAR) or isinstance(error, CERTAIN)


async def _found[T](attempts: Attempts, why: str, find: Callable[[], Awaitable[T | None]]) -> T:
    """What a request without a clear answer has made."""
    _log.warning("looking for what was made without a clear answer: %s", why)
    problem, end = "", attempts.waits.now() + sum(_LOOKS) + attempts.patience
    for pause in _LOOKS:
        if attempts.waits.now() > end:
            break
        await attempts.waits.sleep(pause)
        try:
            found = await find()
        except ProviderError as error:
            problem = f"; the last look failed: {error}"
            continue
        if found is not None:
            return found
        problem = ""
    raise Transient(f"{why}; it was looked for and is not there{problem}")
