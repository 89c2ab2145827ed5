"""Asking a vendor: questions are repeated as long as that may help, and creating happens once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, overload

from attrs import frozen

from skyward._rest.answer import Answer, Question, Silence
from skyward._rest.credentials import Authorize, Renewable, checked
from skyward._rest.pace import Pace, pacer_of
from skyward._rest.refusals import CERTAIN, UNCLEAR, refusal
from skyward._rest.secrets import Secrets
from skyward._rest.structure import Misfit, structured
from skyward._rest.transfer import Explain, Transfer, address
from skyward._rest.waiting import Waits, retry_after
from skyward.errors import ProviderError, Transient

__all__ = ["RestClient"]

_log = logging.getLogger("skyward.rest")

_LOOKS = (0.0, 1.0, 2.0, 3.0, 4.0)
"""Seconds before each look for what an unclear request may have created: vendors list a new thing after seconds."""
_MOST_PAGES = 1000


class _Raise:
    """Says that what is absent is an error."""


_RAISE = _Raise()


@frozen
class _Unclear:
    """Nobody knows whether a request had its effect."""

    why: str


class RestClient:
    """A vendor's REST API, for one session. All its methods belong to one event loop at a time.

    Whatever it raises is a `ProviderError`, names the vendor, the question without its query, and the vendor's own
    words, cut, with credentials struck out.

    Args:
        vendor: its name in messages: ``"RunPod"``.
        endpoint: the address of the API, ``https://``; ``http://`` for addresses of this host or a private network.
        authorize: gives the headers of each request, such as `bearer`; see `Authorize`. Where it has ``renew`` as well,
            that is awaited after a 401, and the request sent once more.
        explain: the vendor's own reading of answers, see `Explain`. It is asked about every answer, 2xx included. For a
            request that creates, `Unavailable`, `QuotaExceeded` and `AuthenticationFailed` of a 5xx say for certain
            that it had no effect; any other reading of one leaves that open.
        paces: the vendor's published limits, which all pools of this process keep together.
        timeout: seconds that one request may take.
        patience: seconds for which a question is repeated.
        remedy: what to set, for refused credentials: ``"set RUNPOD_API_KEY, or run ..."``.
        secrets: what else must not be told; see `hide`.
    """

    def __init__(
        self,
        vendor: str,
        endpoint: str,
        *,
        authorize: Authorize,
        explain: Explain | None = None,
        paces: Sequence[Pace] = (),
        timeout: float = 30.0,
        patience: float = 30.0,
        remedy: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        self.vendor = vendor
        self.endpoint = address(endpoint, vendor)
        self.waits = Waits()
        self._authorize = authorize
        self._explain = explain
        self._transfer = Transfer(self.endpoint, timeout)
        self._pacer = pacer_of(self.endpoint, paces, self.waits.clock)
        self._patience = patience
        self._remedy = remedy
        self._secrets = Secrets(secrets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vendor!r}, {self.endpoint!r})"

    def hide(self, *secrets: str) -> None:
        """Strike these out of all that is told from now on, such as a key that goes along in a request."""
        self._secrets.add(*secrets)

    def safe(self, text: str) -> str:
        """A vendor's text, fit for a message or a log: one line, cut, credentials struck out."""
        return self._secrets.cut(text)

    # ---- questions

    @overload
    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        into: None = None,
        absent: object = ...,
    ) -> Any: ...
    @overload
    async def ask[T](
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        into: type[T],
    ) -> T: ...
    @overload
    async def ask[T, A](
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        into: type[T],
        absent: A,
    ) -> T | A: ...
    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        into: Any = None,
        absent: Any = _RAISE,
    ) -> Any:
        """Ask what may be asked twice, and return the answer's body.

        After a broken connection, a time-out, 429 or 5xx it is asked again, when the vendor's ``Retry-After`` allows.

        Args:
            method: ``"GET"``, or one that says the same each time, such as ``"DELETE"``.
            path: below the endpoint; an id in it is to be quoted: ``f"/pods/{quote(id, safe='')}"``.
            params: the query, without those that are ``None``.
            body: what is sent as JSON.
            into: what the body is made into: an attrs class, ``list`` of it, ``str``, ...; see `structured`. `Answer`
                is the whole answer. ``None`` for the body as it is.
            absent: returned in the place of an error when the vendor answers 404 or 410.

        Raises:
            Transient: it has not helped; ``retry_after`` says when it may.
            ProviderError: the vendor refuses it, or its answer is not what ``into`` needs.
        """
        question = Question(method, path, params or {}, body)

        async def attempt() -> Any:
            sent = await self._answered(question)
            if isinstance(sent, Silence):
                raise self._unheard(question, sent)
            if sent.status in (404, 410) and absent is not _RAISE:
                return absent
            if (error := self._refusal(sent)) is not None:
                raise error
            return self._made(sent, into)

        return await self.waits.persistently(attempt, self._patience)

    async def pages[T](
        self,
        path: str,
        *,
        items: Callable[[Any], Iterable[T]],
        next: Callable[[Any], Mapping[str, object] | None],  # noqa: A002  it reads well where it is called
        params: Mapping[str, object] | None = None,
        method: str = "GET",
        body: object = None,
    ) -> list[T]:
        """What all pages of an answer have.

        Args:
            path: as of `ask`.
            items: takes what is wanted out of a page's body.
            next: what the next page's query has beside, or in the place of, ``params``; ``None`` after the last one.
            params: the query of the first page.
            method: as of `ask`.
            body: as of `ask`.

        Raises:
            ProviderError: as of `ask`; or the pages do not end, or have not what they should.
        """
        found: list[T] = []
        asked: list[Mapping[str, object]] = []
        more: Mapping[str, object] | None = {}
        while more is not None:
            query = {**(params or {}), **more}
            if query in asked or len(asked) >= _MOST_PAGES:
                raise ProviderError(
                    f"{self.vendor} answers {method} {path} with pages that do not end, after {len(asked)} of them: "
                    "its API may have changed"
                )
            asked.append(query)
            page = await self.ask(method, path, params=query, body=body)
            try:
                found += items(page)
                more = next(page)
            except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
                raise ProviderError(
                    f"{self.vendor} answered {method} {path} with a page that is not what it should be "
                    f"({type(error).__name__}); its API may have changed"
                ) from error
        return found

    # ---- creating

    async def create[T](
        self,
        method: str,
        path: str,
        *,
        find: Callable[[], Awaitable[T | None]],
        into: type[T],
        body: object = None,
        params: Mapping[str, object] | None = None,
    ) -> T:
        """Have something made, once.

        It is sent again only when it is certain that it had no effect: no connection came about, or the answer is 429.
        A refusal is raised. After any other failure (the connection broke, no answer in time, 5xx, an answer that
        cannot be read) it is looked for.

        Args:
            method: as of `ask`.
            path: as of `ask`.
            find: looks for the thing, by a name that only this request has given; ``None`` when it is not there.
            into: as of `ask`; ``find`` gives the same.
            body: as of `ask`.
            params: as of `ask`.

        Raises:
            Transient: it was not sent, or it was looked for some seconds and is not there.
            ProviderError: the vendor refuses.
        """
        question = Question(method, path, params or {}, body)

        async def attempt() -> T | _Unclear:
            sent = await self._answered(question)
            if isinstance(sent, Silence):
                if sent.sent:
                    return _Unclear(str(self._unheard(question, sent)))
                raise self._unheard(question, sent)
            error = self._refusal(sent)
            open_to_doubt = sent.status >= 500 or sent.status in UNCLEAR
            if error is not None and open_to_doubt and not isinstance(error, CERTAIN):
                return _Unclear(str(error))
            if error is not None:
                raise error
            try:
                made: T = self._made(sent, into)
            except ProviderError as misfit:
                return _Unclear(str(misfit))
            return made

        outcome = await self.waits.persistently(attempt, self._patience)
        return await self._found(outcome.why, find) if isinstance(outcome, _Unclear) else outcome

    async def _found[T](self, why: str, find: Callable[[], Awaitable[T | None]]) -> T:
        """What a request without a clear answer has made."""
        _log.warning("looking for what was made without a clear answer: %s", why)
        problem = ""
        for pause in _LOOKS:
            await self.waits.sleep(pause)
            try:
                found = await find()
            except ProviderError as error:
                problem = f"; the last look failed: {error}"
                continue
            if found is not None:
                return found
            problem = ""
        raise Transient(f"{why}; it was looked for {sum(_LOOKS):g} s, and is not there{problem}")

    async def aclose(self) -> None:
        """Close the connections. Nothing can be asked any more."""
        await self._transfer.close()

    # ---- one attempt

    async def _answered(self, question: Question) -> Answer | Silence:
        """Send a question when its turn has come; once more with new credentials where the old ones have run out."""
        sent = await self._sent(question, await self._authorize())
        if isinstance(sent, Answer) and sent.status == 401 and isinstance(self._authorize, Renewable):
            return await self._sent(question, await self._authorize.renew())
        return sent

    async def _sent(self, question: Question, authorization: Mapping[str, str]) -> Answer | Silence:
        self._secrets.add(*authorization.values())
        headers = checked(authorization, self.vendor, self._remedy)
        await self._turn(question)
        sent = await self._transfer.exchange(question, headers)
        if isinstance(sent, Answer) and sent.status == 429:
            pause = retry_after(sent.headers, self.waits.clock.time())
            self._pacer.hold(question.method, question.path, self.waits.now() + (pause or 0.0))
        return sent

    async def _turn(self, question: Question) -> None:
        """Wait until the vendor's limits let a question out.

        Raises:
            Transient: that is too long.
        """
        while wait := self._pacer.take(question.method, question.path, self.waits.now()):
            if wait > self._patience:
                raise Transient(
                    f"{self.vendor} wants no {question.method} {question.path} for another {wait:.0f} s",
                    retry_after=wait,
                )
            await self.waits.sleep(wait)

    def _unheard(self, question: Question, silence: Silence) -> ProviderError:
        kind = Transient if silence.passing else ProviderError
        said = self.safe(silence.why)
        what = "was not answered" if silence.sent else "could not be asked"
        return kind(f"{self.vendor} {what} {question} at {self.endpoint}: {said}")

    def _refusal(self, answer: Answer) -> ProviderError | None:
        """The error that an answer means; ``None`` for a success."""
        pause = retry_after(answer.headers, self.waits.clock.time())
        error = self._explained(answer)
        if error is None:
            if 200 <= answer.status < 300:
                return None
            return refusal(answer, self.vendor, self.safe(answer.words), self._remedy, pause)
        error.args = (self._secrets.strike(str(error)), *error.args[1:])
        if isinstance(error, Transient) and error.retry_after is None:
            error.retry_after = pause
        return error

    def _explained(self, answer: Answer) -> ProviderError | None:
        """The vendor's reading; what it stumbles over must not hide that something was made."""
        if self._explain is None:
            return None
        try:
            return self._explain(answer)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            _log.warning(
                "the reading of %s's answer %d to %s %s failed: %s",
                self.vendor, answer.status, answer.method, answer.path, type(error).__name__,
            )  # fmt: skip
            return None

    def _made(self, answer: Answer, into: Any) -> Any:
        if into is None:
            return answer.body
        if into is Answer:
            return answer
        try:
            return structured(answer.body, into)
        except Misfit as error:
            raise ProviderError(
                f"{self.vendor} answered {answer.method} {answer.path} with something else than was expected: "
                f"{self.safe(str(error))}; its API may have changed: look for a newer release"
            ) from None
