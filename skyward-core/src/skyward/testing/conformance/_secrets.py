"""Rules of the account's credentials, which are for the vendor alone."""

from __future__ import annotations

import base64
import pickle
import traceback
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import quote, quote_plus

from skyward.errors import ProviderError
from skyward.testing._faults import Fault, SeesUserData
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import attempted
from skyward.testing.conformance._kit import Broken, check, skip
from skyward.testing.conformance._plain import overheard
from skyward.testing.conformance._rules import ProviderRules, needs, on_loop, served

__all__ = ["SecretRules"]

_TELLING = (Fault.REFUSED_CREDENTIALS, Fault.QUOTA, Fault.NO_CAPACITY, Fault.LOST_REPLY)
"""The faults whose words are looked at; those of the others come by the same way."""


class SecretRules(ProviderRules):
    """Credentials are in no repr, value, log, error or script."""

    @on_loop
    async def test_credentials_are_told_to_nobody(self, account: Account) -> None:
        vendor = served(self)
        with overheard() as lines:
            session = await account.open()
            told: list[tuple[str, object]] = [("the settings", account.provider), ("the session", session.raw)]
            told += [("an offer", offer) for offer in await account.offers(session)]
            machines = await account.launch(session, 0)
            ids = [machine.id for machine in machines]
            found = [*(await session.describe(ids)).values(), *await session.list_owned(session.identity.pool_id)]
            told += [("an instance", machine) for machine in [*machines, *found]]
            await account.end(session, ids)
            await session.close()
        told += [("a log record", line) for line in lines]
        for what, value in told:
            _keeps(vendor.secrets(), what, value if isinstance(value, str) else f"{value!r} {value}")

    @on_loop
    async def test_errors_tell_no_credentials_and_pickle(self, account: Account) -> None:
        vendor = served(self)
        session = await account.open()
        request = await account.order(session, 0)
        calls: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
            ("launch", lambda: session.attempt(request)),
            ("describe", lambda: attempted("describe", lambda: session.raw.describe(["i-1"]), account.patience)),
        )
        with overheard() as lines:
            errors: list[ProviderError] = []
            for fault in _TELLING:
                for _, call in calls if fault in vendor.faults else ():
                    vendor.inject(fault)
                    answer = await call()
                    vendor.reset()
                    errors += [answer] if isinstance(answer, ProviderError) else []
        secrets = vendor.secrets()
        for error in errors:
            _keeps(secrets, "an error", _whole(error))
            try:
                twin = pickle.dumps(pickle.loads(pickle.dumps(error)))
            except Exception as failure:
                raise Broken(f"{error!r} does not pickle ({failure}); give errors plain words alone") from failure
            _keeps(secrets, "a pickled error", twin.decode("latin-1"))
        for line in lines:
            _keeps(secrets, "a log record", line)

    @on_loop
    async def test_what_a_machine_is_given_has_no_credentials(self, account: Account) -> None:
        needs(account.provider, "user_data")
        vendor = served(self)
        if not isinstance(vendor, SeesUserData):
            skip("the server of vendor() has no user_data()")
        [machine] = await account.launch(await account.open(), 0)
        _keeps(vendor.secrets(), f"what {machine.id} is given for its first boot", vendor.user_data(machine.id))


def _whole(error: BaseException) -> str:
    """All that can be seen of an error, with what it came from."""
    shown = "".join(traceback.format_exception(error))
    return f"{shown} {error!r} {vars(error)!r} {error.args!r}"


def _keeps(secrets: Collection[str], what: str, text: str) -> None:
    for secret in secrets:
        check(
            not any(form in text for form in _forms(secret)),
            f"{what} tells a credential; leave it out of reprs, details, tags, scripts, messages and logs, addresses "
            "of requests included",
        )


def _forms(secret: str) -> set[str]:
    """As it is, and as it stands in addresses and headers."""
    raw = secret.encode()
    return {secret, quote(secret, safe=""), quote_plus(secret), base64.b64encode(raw).decode().rstrip("="), raw.hex()}
