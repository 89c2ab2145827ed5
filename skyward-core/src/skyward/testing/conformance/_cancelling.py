"""Rules of calls that are cancelled half-way, and of secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from skyward.errors import ProviderError
from skyward.spi.provider import LaunchRequest
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded, living
from skyward.testing.conformance._interrupt import cancelled_at
from skyward.testing.conformance._kit import Broken, check
from skyward.testing.conformance._machines import UNKNOWN
from skyward.testing.conformance._plain import overheard, tells
from skyward.testing.conformance._rules import ProviderRules, on_loop

__all__ = ["CancellingRules"]


class CancellingRules(ProviderRules):
    """A cancellation loses no machine, and nobody learns a secret."""

    @on_loop
    async def test_a_cancelled_launch_leaves_no_machine_that_is_not_found(self, account: Account) -> None:
        session = await account.open()
        request = LaunchRequest(offer=(await account.offers(session))[0], nodes=(0,), spec=account.spec)
        for moment in range(1, self.cancellations + 1):
            whole = await _cut(account, "launch", session.raw.launch(request), moment)
            await account.until(lambda: account.unfound(session, "a cancelled call"))
            found = living(await session.list_owned(session.identity.pool_id))
            await account.end(session, found)
            if whole:
                return

    @on_loop
    async def test_a_cancelled_terminate_can_be_repeated(self, account: Account) -> None:
        session = await account.open()
        for moment in range(1, self.cancellations + 1):
            ids = [machine.id for machine in await account.launch(session, 0)]
            whole = await _cut(account, "terminate", session.raw.terminate(ids), moment)
            await account.end(session, ids)
            await account.until(lambda: account.unfound(session, "a cancelled call"))
            if whole:
                return

    @on_loop
    async def test_a_session_is_of_use_after_a_cancelled_question(self, account: Account) -> None:
        session = await account.open()
        pool_id = session.identity.pool_id
        ids = [machine.id for machine in await account.launch(session, 0)]
        questions: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "offers": lambda: _awaited(session.raw.offers(account.spec)),
            "describe": lambda: _awaited(session.raw.describe(ids)),
            "list_owned": lambda: _awaited(session.raw.list_owned(pool_id)),
        }
        for what, question in questions.items():
            whole = False
            for moment in range(1, self.cancellations + 1):
                if not whole:
                    whole = await _cut(account, what, question(), moment)
                    await _still_found(session, ids, what)

    @on_loop
    async def test_the_token_is_told_to_nobody(self, account: Account) -> None:
        with overheard() as lines:
            session = await account.open()
            told: list[tuple[str, object]] = [("the session", session.raw)]
            told += [("an offer", offer) for offer in await account.offers(session)]
            machines = await account.launch(session, 0)
            ids = [machine.id for machine in machines]
            found = [*(await session.describe(ids)).values(), *await session.list_owned(session.identity.pool_id)]
            told += [("an instance", machine) for machine in [*machines, *found]]
            try:
                await session.terminate([UNKNOWN])
            except (ProviderError, Broken) as error:
                told.append(("an error", error))
        told += [("the settings", account.provider), *(("a log record", line) for line in lines)]
        for what, value in told:
            check(
                not tells(value if isinstance(value, str) else f"{value!r} {value}", session.identity.token),
                f"{what} tells the pool's token; leave it out of reprs, details, tags, messages and logs",
            )


async def _still_found(session: Guarded, ids: list[str], what: str) -> None:
    found = await session.describe(ids)
    check(
        living(found.values()) == set(ids),
        f"describe found {sorted(found)} and not {ids} after a cancelled {what}; keep no half-made state in a session",
    )


async def _awaited(answer: Awaitable[object]) -> object:
    return await answer


async def _cut(account: Account, what: str, call: Coroutine[Any, Any, Any], moment: int) -> bool:
    """Cancel a call at a moment; whether it had come to its end before."""
    try:
        task, cut = await cancelled_at(call, moment, account.patience)
    except TimeoutError:
        raise Broken(
            f"{what} went on for {account.patience:g} s after it was cancelled; let CancelledError pass, and clean up "
            "within seconds"
        ) from None
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, ProviderError):
        raise Broken(
            f"{what} raised {type(error).__name__}: {error} when it was cancelled; let CancelledError pass"
        ) from error
    check(not cut, f"{what} went on as if nothing were when it was cancelled; let CancelledError pass")
    return True
