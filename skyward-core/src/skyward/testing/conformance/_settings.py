"""Rules of a provider's settings, and of opening a session."""

from __future__ import annotations

import dataclasses
import pickle
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast

import attrs

from skyward.errors import AuthenticationFailed
from skyward.spi.provider import Capabilities, Checkable, Finding, Provider
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import asked, living
from skyward.testing.conformance._kit import Broken, check, check_value, skip
from skyward.testing.conformance._plain import is_figure
from skyward.testing.conformance._quiet import quietly
from skyward.testing.conformance._rules import ProviderRules, on_loop

__all__ = ["SettingsRules"]


class SettingsRules(ProviderRules):
    """Settings are a value; opening costs nothing."""

    def test_settings_are_a_value(self, provider: Provider) -> None:
        check_value(provider, "the provider's settings")

    def test_settings_made_alike_are_equal(self, provider: Provider) -> None:
        twin = _remade(provider)
        check(
            twin == provider and hash(twin) == hash(provider),
            "settings with the same values are not equal; compare by value: use attrs' @frozen, without eq=False",
        )

    def test_name_and_capabilities_are_declared(self, provider: Provider) -> None:
        name = cast("object", getattr(provider, "name", None))
        check(
            isinstance(name, str) and re.fullmatch(r"\w[\w .-]*", name),
            f"the provider's name is {name!r}; set the class attribute name to its public name, such as 'AWS'",
        )
        declared = cast("object", getattr(provider, "capabilities", None))
        check(
            isinstance(declared, Capabilities),
            f"the provider's capabilities are {declared!r}; set the class attribute capabilities to a Capabilities",
        )
        lease = provider.capabilities.default_lease
        check(
            lease is None or (is_figure(lease) and lease > 0),
            f"default_lease is {lease!r}; give seconds, or None for machines that need not hear from the client",
        )
        limit = provider.capabilities.launch_limit
        check(is_figure(limit) and limit > 0, f"launch_limit is {limit!r}; give seconds, or leave it out")

    def test_settings_load_no_sdk_and_ask_nobody(self, provider: Provider) -> None:
        module = sys.modules.get(type(provider).__module__)
        held: dict[str, object] = vars(module) if module else {}
        names = sorted({value.__name__ for value in held.values() if isinstance(value, ModuleType)})
        early = [name for name in names if name.partition(".")[0] in self.sdks]
        check(not early, f"{', '.join(early)} is imported by the settings' module; import it inside open")
        with quietly(self.sdks) as noticed:
            try:
                _remade(provider)
            except ImportError as error:
                noticed.append(f"imports {error.name}")
        check(not noticed, f"making the settings {' and '.join(dict.fromkeys(noticed))}; do that inside open")

    @on_loop
    async def test_opening_and_asking_for_offers_creates_nothing(self, account: Account) -> None:
        session = await account.open()
        await account.offers(session)
        found = living(await session.list_owned(session.identity.pool_id)) | (account.standing() or set())
        check(
            not found,
            f"{', '.join(sorted(found))} came into being before any launch; create machines in launch alone",
        )

    def test_refused_credentials_say_what_to_set(self, provider: Provider) -> None:
        refused = self.unauthorised()
        if refused is None:
            skip("unauthorised() gives no provider with credentials that are refused")

        async def main() -> None:
            account = Account(self, refused)
            try:
                session = await account.open()
                try:
                    await session.offers(account.spec)
                finally:
                    await session.close()
            except AuthenticationFailed as error:
                check(
                    re.search(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+|[~\w]*/[\w./~-]+|\w+\.(toml|json|ini|cfg)", error.message),
                    f"AuthenticationFailed says {error.message!r}; name the variable or the file to set",
                )
                return
            raise Broken(
                "credentials that are refused went through open and offers; raise AuthenticationFailed from open"
            )

        self.run(main())

    @on_loop
    async def test_a_check_tells_what_it_found_and_creates_nothing(self, account: Account) -> None:
        provider: object = account.provider
        if not isinstance(provider, Checkable):
            skip("the settings have no check()")
        found = cast("object", await asked("check", provider.check, account.patience))
        findings = list(cast("Sequence[object]", found)) if isinstance(found, Sequence) else []
        if not findings or not all(isinstance(each, Finding) for each in findings):
            raise Broken(f"check returned {found!r}; return a Finding for each thing that was looked at")
        for each in cast("list[Finding]", findings):
            check(
                each.subject and each.level in ("ok", "warning", "problem"),
                f"{each!r} is no finding; give it a subject, and 'ok', 'warning' or 'problem' as its level",
            )
            check(
                each.remedy or each.level == "ok",
                f"the {each.level} {each.subject!r} has no remedy; say in remedy what the user is to do about it",
            )
        created = account.standing() or set()
        check(not created, f"check has created {', '.join(sorted(created))}; let it look only, by dry runs if need be")

    @on_loop
    async def test_a_session_can_be_closed_twice(self, account: Account) -> None:
        session = await account.open()
        await session.close()
        await asked("a second close", session.raw.close, account.patience)

    @on_loop
    async def test_closing_leaves_machines_alone(self, account: Account) -> None:
        session = await account.open()
        [machine] = await account.launch(session, 0)
        await session.close()
        stranger = await account.stranger()
        found = living(await stranger.list_owned(session.identity.pool_id))
        check(
            machine.id in found,
            f"{machine.id} is gone after close; leave machines to terminate: core closes a session when it cannot go "
            "on",
        )


def _remade(provider: object) -> Any:
    """Settings of the same values, made anew; by pickle where the class tells nobody how it is made."""
    if attrs.has(type(provider)):
        return attrs.evolve(cast("Any", provider))
    if dataclasses.is_dataclass(provider):
        return dataclasses.replace(cast("Any", provider))
    return pickle.loads(pickle.dumps(provider))
