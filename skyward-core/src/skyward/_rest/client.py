"""Asking a vendor: questions are repeated as long as that may help, and creating happens once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, overload

from skyward._rest.answer import Question, Silence
from skyward._rest.attempts import Attempts
from skyward._rest.creating import create
from skyward._rest.credentials import Authorize
from skyward._rest.pace import Pace
from skyward._rest.transfer import Explain
from skyward.errors import ProviderError

__all__ = ["RestClient"]

_MOST_PAGES = 1000


class _Raise:
    """Says that what is absent is an error."""


_RAISE = _Raise()


class RestClient:
    """A vendor's REST API, for one session. All its methods belong to one event loop at a time.

    Whatever it raises is a `ProviderError`, names the vendor, the question without its query, and the vendor's own
    words, cut, with credentials struck out.

    Args:
        vendor: its name in messages: ``"RunPod"``.
        endpoint: the address of the API, ``https://``; ``http://`` for addresses of this host or a private network.
        authorize: gives the headers of each request, such as `bearer`; see `Authorize`. Where it has ``renew`` as well,
            that is awaited after a 401, and the request sent once more.
        explain: the vendor's own reading of answers, see `Explain`. It is asked about every answer, 2xx included. What
            it reads as `Transient` is asked again, by ``create`` only where the status is below 500. For a request that
            creates, `Unavailable`, `QuotaExceeded` and `AuthenticationFailed` of a 5xx say for certain that it had no
            effect; any other reading of one leaves that open.
        paces: the vendor's published limits, which all pools of this process keep together.
        timeout: seconds that one request may take.
        patience: seconds for which a question is repeated; by default fewer than a session may take for an answer, so
            that what the vendor said last is what is told.
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
        patience: float = 20.0,
        remedy: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        self._attempts = Attempts(
            vendor,
            endpoint,
            authorize=authorize,
            explain=explain,
            paces=paces,
            timeout=timeout,
            patience=patience,
            remedy=remedy,
            secrets=secrets,
        )
        self.vendor = vendor
        self.endpoint = self._attempts.endpoint
        self.waits = self._attempts.waits

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vendor!r}, {self.endpoint!r})"

    def hide(self, *secrets: str) -> None:
        """Strike these out of all that is told from now on, such as a key that goes along in a request."""
        self._attempts.secrets.add(*secrets)

    def safe(self, text: str) -> str:
        """A vendor's text, fit for a message or a log: one line, cut, credentials struck out."""
        return self._attempts.secrets.cut(text)

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
            sent = await self._attempts.answered(question)
            if isinstance(sent, Silence):
                raise self._attempts.unheard(question, sent)
            if sent.status in (404, 410) and absent is not _RAISE:
                return absent
            if (error := self._attempts.refused(sent)) is not None:
                raise error
            return self._attempts.made(sent, into)

        return await self.waits.persistently(attempt, self._attempts.patience)

    async def pages[T](
        self,
        path: str,
        *,
        items: Callable[[Any], Iterable[T]],
        next: Callable[[Any], Mapping[str, object] | None],  # noqa: A002  it reads well where it is called
        params: Mapping[str, object] | None = None,
        method: str = "GET",
        body: object = None,
        into: Any = None,
    ) -> list[T]:
        """What all pages of an answer have.

        Args:
            path: as of `ask`.
            items: takes what is wanted out of a page's body.
            next: what the next page's query has beside, or in the place of, ``params``; ``None`` after the last one.
            params: the query of the first page.
            method: as of `ask`.
            body: as of `ask`.
            into: what each page is made into, as of `ask`, before ``items`` and ``next`` are given it.

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
            page = await self.ask(method, path, params=query, body=body, into=into)
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
        return await create(self._attempts, Question(method, path, params or {}, body), into, find)

    async def aclose(self) -> None:
        """Close the connections. Nothing can be asked any more."""
        await self._attempts.transfer.close()
