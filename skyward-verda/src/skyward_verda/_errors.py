"""Verda's refusals, in skyward's words. Pure: an answer in, the error that it means out."""

from __future__ import annotations

import re

from skyward import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.spi import Answer
from skyward_verda._credentials import REMEDY

__all__ = ["BILLING", "Unknown", "explained"]

BILLING = "https://console.verda.com/billing"

# Its errors have few codes and many messages, of which these are known by its own clients and their users.
_ENDED = re.compile(r"invalid instance id|discontinue an? (already )?(discontinued|deleted)", re.IGNORECASE)
_BUSY = re.compile(r"can(no|')t discontinue", re.IGNORECASE)
_SOLD_OUT = re.compile(
    r"capacity|not enough|no \w+ (is|are) available|(not|are) available|out of stock|sold out", re.IGNORECASE
)
_FUNDS = re.compile(r"balance|funds|credit", re.IGNORECASE)
_LIMIT = re.compile(r"quota|limit|maximum number", re.IGNORECASE)
_IMAGE = re.compile(r"operating system|image", re.IGNORECASE)


class Unknown(Unavailable):
    """An instance that Verda does not have, or has no more."""


def explained(answer: Answer) -> ProviderError | None:
    """The error that an answer means; ``None`` where the usual reading of its status holds."""
    said = _of_results(answer) if answer.status < 300 else answer.words
    if (answer.status < 400 and not said) or answer.status == 429:
        return None
    code = answer.code
    question = f"{answer.method} {answer.path}"
    told = f"Verda refuses {question} with {answer.status}: {' '.join(said.split())[:300] or code}"
    if code == "insufficient_funds":
        return QuotaExceeded(f"{told}; add funds at {BILLING}", quota="balance", url=BILLING)
    door = answer.path == "/oauth2/token" and answer.status < 500
    if code == "unauthorized_request" or answer.status == 401 or door:
        return AuthenticationFailed(f"{told}; {REMEDY}")
    error = _of_instances(answer, said, told) if answer.path.startswith("/instances") else None
    return Unavailable(told) if error is None and answer.status in (400, 409, 422) else error


def _of_results(answer: Answer) -> str:
    """What has gone wrong with an instance of an action that was taken on; each has its own result."""
    rows = answer.body if answer.method == "PUT" and isinstance(answer.body, list) else []
    failed = [each for each in rows if isinstance(each, dict) and (each.get("error") or each.get("status") == "error")]
    return str(failed[0].get("error") or "it failed for the instance") if failed else ""


def _of_instances(answer: Answer, said: str, told: str) -> ProviderError | None:
    if _ENDED.search(said):
        return Unknown(told)
    if _BUSY.search(said):  # an instance that is being provisioned cannot be deleted before it is
        return Transient(told, retry_after=2.0)
    if answer.status < 300:
        return Transient(told)
    certain = answer.code == "service_unavailable" or answer.status < 500
    return _of_order(answer, said, told) if answer.method == "POST" and certain else None


def _of_order(answer: Answer, said: str, told: str) -> ProviderError | None:
    """Why an instance was not made."""
    if _SOLD_OUT.search(said) and not _FUNDS.search(said):
        return Unavailable(f"{told}; try another location, or another accelerator")
    if _FUNDS.search(said):
        return QuotaExceeded(f"{told}; add funds at {BILLING}", quota="balance", url=BILLING)
    if _LIMIT.search(said):
        return QuotaExceeded(f"{told}; ask Verda's support to raise it", quota="instances")
    if answer.status >= 500 or answer.status in (402, 403, 404, 408):
        return None
    return Unavailable(f"{told}; name another image in Verda(image=...)" if _IMAGE.search(said) else told)
