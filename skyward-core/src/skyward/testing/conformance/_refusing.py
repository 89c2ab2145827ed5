"""Rules of requests that the vendor refuses: too many of them, or with credentials that are no longer valid."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skyward.errors import AuthenticationFailed, ProviderError, Transient
from skyward.testing._faults import Fault
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded, attempted, living
from skyward.testing.conformance._kit import Broken, check
from skyward.testing.conformance._rules import ProviderRules, on_loop, playing

__all__ = ["RefusalRules"]

_MANY = 1000
"""Requests that are refused, where it is all until further notice."""


class RefusalRules(ProviderRules):
    """A refusal is told as what it is, and never taken for an answer."""

    @on_loop
    async def test_a_question_too_many_is_answered_in_the_end(self, account: Account) -> None:
        vendor = playing(self, Fault.THROTTLED)
        session = await account.open()
        pool_id = session.identity.pool_id
        ids = {machine.id for machine in await account.launch(session, 0)}

        async def described() -> bool:
            return living((await session.describe(ids)).values()) == ids

        async def listed() -> bool:
            return living(await session.list_owned(pool_id)) >= ids

        async def offered() -> bool:
            return bool(await session.offers(account.spec))

        for what, question in (("describe", described), ("list_owned", listed), ("offers", offered)):
            vendor.inject(Fault.THROTTLED)
            right = await _patiently(what, question)
            vendor.reset()
            check(
                right,
                f"{what} left out what there is when the vendor refused a request as one too many; raise Transient "
                "with its pause in retry_after, or wait and ask again: an empty answer means that nothing is there",
            )

    @on_loop
    async def test_a_throttled_launch_makes_each_machine_once(self, account: Account) -> None:
        vendor = playing(self, Fault.THROTTLED)
        session = await account.open()
        request = await account.order(session, 0)
        vendor.inject(Fault.THROTTLED)
        ids = {machine.id for machine in await _patiently("launch", lambda: session.launch(request))}
        vendor.reset()
        standing = account.standing() or set()
        check(
            ids == standing and len(ids) == 1,
            f"{', '.join(sorted(standing)) or 'nothing'} exists and launch returned {', '.join(sorted(ids))} after a "
            "request was refused as one too many; look up what exists before a create is sent again",
        )

    @on_loop
    async def test_a_throttled_terminate_ends_all_the_same(self, account: Account) -> None:
        vendor = playing(self, Fault.THROTTLED)
        session = await account.open()
        ids = [machine.id for machine in await account.launch(session, 0, 1)]
        vendor.inject(Fault.THROTTLED, 2)
        await _patiently("terminate", lambda: session.terminate(ids))
        vendor.reset()
        await account.until(lambda: session.gone(ids))

    @on_loop
    async def test_credentials_that_are_refused_in_mid_life_are_told(self, account: Account) -> None:
        vendor = playing(self, Fault.REFUSED_CREDENTIALS)
        session = await account.open()
        raw, pool_id = session.raw, session.identity.pool_id
        ids = [machine.id for machine in await account.launch(session, 0)]
        request = await account.order(session, 1)
        vendor.inject(Fault.REFUSED_CREDENTIALS, _MANY)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "describe": lambda: raw.describe(ids),
            "list_owned": lambda: raw.list_owned(pool_id),
            "launch": lambda: raw.launch(request),
            "terminate": lambda: raw.terminate(ids),
        }
        for what, call in calls.items():
            answer = await attempted(what, call, account.patience)
            check(
                isinstance(answer, AuthenticationFailed),
                f"{what} gave {answer!r} with credentials that are refused; raise AuthenticationFailed: whatever else "
                "it answers is taken for the truth about machines",
            )
        vendor.reset()
        await _still_there(session, ids)

    @on_loop
    async def test_a_session_serves_on_when_its_credentials_do(self, account: Account) -> None:
        vendor = playing(self, Fault.REFUSED_CREDENTIALS)
        session = await account.open()
        ids = [machine.id for machine in await account.launch(session, 0)]
        vendor.inject(Fault.REFUSED_CREDENTIALS)
        answer = await attempted("describe", lambda: session.raw.describe(ids), account.patience)
        vendor.reset()
        check(
            not isinstance(answer, ProviderError) or isinstance(answer, AuthenticationFailed),
            f"describe raised {answer!r} with credentials that were refused once; get new ones and ask again where "
            "the vendor gives them out, or raise AuthenticationFailed",
        )
        await _still_there(session, ids)
        await account.launch(session, 1)


async def _still_there(session: Guarded, ids: list[str]) -> None:
    try:
        found = living((await session.describe(ids)).values())
    except AuthenticationFailed as error:
        raise Broken(
            f"describe raises {error!r} although the credentials are accepted again; keep no refusal in mind"
        ) from error
    check(
        found == set(ids),
        f"{', '.join(ids)} is not described any more after credentials were refused; keep no half-made state in a "
        "session",
    )


async def _patiently[T](what: str, call: Callable[[], Awaitable[T]]) -> T:
    """An answer, as core gets it: again after ``Transient``."""
    try:
        return await call()
    except Transient as error:
        raise Broken(
            f"{what} raised {error!r} again and again when one request was refused as one too many; say in retry_after "
            "how long the vendor wants to be left alone"
        ) from error
    except ProviderError as error:
        raise Broken(
            f"{what} raised {error!r} when a request was refused as one too many; raise Transient with the vendor's "
            "pause in retry_after, or wait and ask again"
        ) from error
