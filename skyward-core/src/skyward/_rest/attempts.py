"""One attempt to have a question answered: in its turn, with credentials, and with what the answer means."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve

from skyward._rest.answer import Answer, Question, Silence, words
from skyward._rest.credentials import Authorize, Renewable, checked
from skyward._rest.pace import Pace, pacer_of
from skyward._rest.refusals import refusal
from skyward._rest.secrets import Secrets
from skyward._rest.structure import Misfit, structured
from skyward._rest.transfer import Explain, Transfer, address
from skyward._rest.waiting import Waits, retry_after
from skyward.errors import ProviderError, Transient

__all__ = ["Attempts"]

_log = logging.getLogger("skyward.rest")


class Attempts:
    """Puts single questions to a vendor. Parameters are those of `RestClient`."""

    def __init__(
        self,
        vendor: str,
        endpoint: str,
        *,
        authorize: Authorize,
        explain: Explain | None,
        paces: Sequence[Pace],
        timeout: float,
        patience: float,
        remedy: str,
        secrets: Iterable[str],
    ) -> None:
        self.vendor = vendor
        self.endpoint = address(endpoint, vendor)
        self.waits = Waits()
        self.patience = patience
        self.secrets = Secrets(secrets)
        self.transfer = Transfer(self.endpoint, timeout)
        self._authorize = authorize
        self._explain = explain
        self._pacer = pacer_of(self.endpoint, paces, self.waits.clock)
        self._remedy = remedy

    async def answered(self, question: Question) -> Answer | Silence:
        """Send a question when its turn has come; once more with new credentials where the old ones have run out.

        Raises:
            ProviderError: it was not sent, for want of credentials, or because the vendor's limits allow it too late.
        """
        sent = await self._sent(question, await self._authorize())
        if isinstance(sent, Answer) and sent.status == 401 and isinstance(self._authorize, Renewable):
            return await self._sent(question, await self._authorize.renew())
        return sent

    async def _sent(self, question: Question, authorization: Mapping[str, str]) -> Answer | Silence:
        self.secrets.add(*authorization.values())
        headers = checked(authorization, self.vendor, self._remedy)
        await self._turn(question)
        sent = await self.transfer.exchange(question, headers)
        return evolve(sent, words=self.secrets.cut(words(sent.body))) if isinstance(sent, Answer) else sent

    async def _turn(self, question: Question) -> None:
        """Wait until the vendor's limits let a question out.

        Each pause may be as long as patience is; how many there are depends on how many others wait for their turn.
        """
        while wait := self._pacer.take(question.method, question.path, self.waits.now()):
            if wait > self.patience:
                raise Transient(f"{self.vendor} wants no {question} for another {wait:.0f} s", retry_after=wait)
            await self.waits.sleep(wait)

    def unheard(self, question: Question, silence: Silence) -> ProviderError:
        """The error for a question without an answer."""
        kind = Transient if silence.passing else ProviderError
        what = "was not heard after" if silence.sent else "could not be asked"
        told, why = f"{self.vendor} {what} {question} at {self.endpoint}", self.secrets.cut(silence.why)
        if silence.sent or not silence.passing:
            return kind(f"{told}: {why}")
        return kind(f"{told} ({why}): see whether that address is right, and can be reached from this machine")

    def refused(self, answer: Answer) -> ProviderError | None:
        """The error that an answer means; ``None`` for a success."""
        pause = retry_after(answer.headers, self.waits.clock.time())
        error = self._explained(answer)
        if error is not None:
            error.args = (self.secrets.clean(str(error)), *error.args[1:])
        elif not 200 <= answer.status < 300:
            error = refusal(answer, self.vendor, self._remedy)
        if isinstance(error, Transient):
            error.retry_after = pause if error.retry_after is None else error.retry_after
            if answer.status == 429:
                self._pacer.hold(answer.method, answer.path, self.waits.now() + (error.retry_after or 0.0))
        return error

    def _explained(self, answer: Answer) -> ProviderError | None:
        """The vendor's reading; what it stumbles over must not hide that something was made."""
        try:
            return None if self._explain is None else self._explain(answer)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            what = f"{answer.status} to {answer.method} {answer.path}"
            _log.warning("%s's answer %s could not be read: %s", self.vendor, what, type(error).__name__)
            return None

    def made(self, answer: Answer, into: Any) -> Any:
        """What the caller wants of an answer.

        Raises:
            ProviderError: it has something else.
        """
        if into is None:
            return answer.body
        if into is Answer:
            return answer
        try:
            return structured(answer.body, into)
        except Misfit as error:
            raise ProviderError(
                f"{self.vendor} answered {answer.method} {answer.path} with something else than was expected: "
                f"{self.secrets.cut(str(error))}; its API may have changed: look for a newer release"
            ) from None
