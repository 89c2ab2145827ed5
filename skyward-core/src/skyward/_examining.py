"""What ``skyward doctor`` looks at: this installation, and what each provider answers and tells of itself."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata

from attrs import evolve, frozen

from skyward._accounts import read_all
from skyward._asking import ask, bug
from skyward._buying import said
from skyward._ledger import state_folder
from skyward._market import answered, fitting
from skyward._spending import amount
from skyward._visiting import opened, owned
from skyward.errors import AuthenticationFailed, QuotaExceeded, SkywardError
from skyward.model.image import Image
from skyward.model.offer import Offer
from skyward.model.redact import redact
from skyward.model.spec import ComputeSpec
from skyward.spi.provider import Checkable, Finding, Provider

__all__ = ["UNSET", "Examined", "examine", "installation", "unusable"]

UNSET = "it has no settings by default"
"""What a note begins with about a provider whose variables, or whatever else it reads, do not make sense."""

_CHECK_LIMIT = 60.0
"""Seconds that a provider's own check may take."""


@frozen
class Examined:
    """Something that was looked at, and the findings."""

    name: str
    findings: tuple[Finding, ...]


def installation() -> Examined:
    """What pools of any provider need."""
    try:
        version = metadata.version("skyward-core")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    findings = [Finding(subject="version", detail=f"{version} on Python {platform.python_version()}"), _state()]
    left = [account for account in read_all() if not account.alive and account.machines]
    if left:
        findings.append(
            Finding(
                subject="left over",
                level="warning",
                detail=f"{len(left)} program(s) that are gone may have left machines behind",
                remedy="look with `skyward reap --dry-run`, and remove them with `skyward reap`",
            )
        )
    return Examined("skyward", tuple(findings))


def _state() -> Finding:
    folder = state_folder()
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if os.access(there, os.W_OK | os.X_OK):
        return Finding(subject="ledgers", detail=f"can be written below {folder}")
    return Finding(
        subject="ledgers",
        level="problem",
        detail=f"{folder} cannot be written to, so no pool can be opened",
        remedy="set XDG_STATE_HOME to a folder that you may write to",
    )


def unusable(note: str) -> Examined:
    """A plugin or a provider that cannot be asked at all; ``note`` is its name, a colon, and why."""
    name, _, why = note.partition(": ")
    subject, remedy = "plugin", f"update or remove {name}"
    if why.startswith(UNSET):
        subject, remedy = "settings", f"correct what {name} takes from the environment"
    return Examined(name, (Finding(subject=subject, level="problem", detail=why, remedy=remedy),))


async def examine(provider: Provider) -> Examined:
    """A provider: what it tells of itself, and whether a session opens, lists and offers. Never fails."""
    told = await _told(provider)
    findings = [*told, *await _asked(provider, known=any(each.level == "problem" for each in told))]
    hidden = [evolve(each, detail=redact(each.detail), remedy=redact(each.remedy)) for each in findings]
    return Examined(provider.name, tuple(hidden))


async def _told(provider: Provider) -> Sequence[Finding]:
    if not isinstance(provider, Checkable):
        return ()
    try:
        answer: object = await ask(provider, "check", provider.check(), _CHECK_LIMIT)
        return _sound(provider, answer)
    except SkywardError as error:
        return (_failed("check", error),)


def _sound(provider: Provider, answer: object) -> Sequence[Finding]:
    if not isinstance(answer, Sequence) or not all(isinstance(each, Finding) for each in answer):
        raise bug(provider, "check", f"an answer that is no sequence of findings: {answer!r}")
    return [each for each in answer if isinstance(each, Finding)]


async def _asked(provider: Provider, *, known: bool) -> list[Finding]:
    """What any provider can be asked. Where it has told already what is wrong, it is not said a second time."""
    findings: list[Finding] = []
    spec = ComputeSpec(nodes=1, image=Image())
    try:
        async with opened(provider, patient=False) as seller:
            findings.append(Finding(subject="session", detail="opens"))
            for subject, look in (
                ("machines", lambda: owned(seller, None, patient=False)),
                ("offers", lambda: answered(provider, "offers", lambda: fitting(seller.session, spec))),
            ):
                try:
                    findings.append(_counted(subject, await look()))
                except SkywardError as error:
                    findings.append(_failed(subject, error))
    except SkywardError as error:
        if not known:
            findings.append(_failed("session", error))
    return findings


def _counted(subject: str, found: Sequence[object]) -> Finding:
    if subject == "machines":
        return Finding(subject=subject, detail=f"{len(found)} of pools of this account")
    offers = [each for each in found if isinstance(each, Offer)]
    if not offers:
        return Finding(
            subject=subject,
            level="warning",
            detail="nothing is on sale, whatever is asked for",
            remedy="try another region or other settings of the provider",
        )
    prices = [offer.price for offer in offers if offer.price is not None]
    least = f", from {amount(min(prices))} an hour" if prices else ""
    return Finding(subject=subject, detail=f"{len(offers)}{least}")


def _failed(subject: str, error: SkywardError) -> Finding:
    """An error as a finding. Its message says the fact, then the remedy; where they can be told apart, they are."""
    words = str(error) or type(error).__name__
    place = max(words.rfind(": "), words.rfind("; "))
    fact, remedy = (words, "") if place < 0 else (words[:place], words[place + 2 :])
    if isinstance(error, AuthenticationFailed):
        subject = "credentials"
        remedy = remedy or "see the provider's page of the documentation for how it finds them"
    elif isinstance(error, QuotaExceeded):
        subject, fact = "quota", said(error)
        remedy = error.url and f"have it raised at {error.url}"
    return Finding(subject=subject, level="problem", detail=fact, remedy=remedy or "try again later")
