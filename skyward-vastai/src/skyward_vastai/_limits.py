"""How often Vast.ai lets itself be asked, and what it means when it refuses. Pure.

The intervals are those of the 429 answers in https://github.com/vast-ai/docs/blob/main/api-reference/openapi.yaml; it
sends no ``Retry-After``, and counts what it has refused as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from skyward import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.spi import Answer, Pace

__all__ = ["BILLING", "PACES", "REMEDY", "explained"]

PACES = (
    Pace("PUT", "/api/v0/asks/*", interval=4.5),
    Pace("POST", "/api/v0/bundles/", times=10, seconds=60.0),
    Pace("GET", "/api/v1/instances/", interval=1.0),
    Pace("GET", "/api/v0/instances/*", interval=2.0),
    Pace("PUT", "/api/v0/instances/*", interval=1.0),
    Pace("DELETE", "/api/v0/instances/*", interval=3.0),
    Pace("POST", "/api/v0/instances/*", interval=1.0),
)
REMEDY = (
    "set VAST_API_KEY, or write the key to ~/.config/vastai/vast_api_key; keys are made at "
    "https://cloud.vast.ai/manage-keys/"
)
BILLING = "https://cloud.vast.ai/billing/"

_THRESHOLD = re.compile(r"threshold\s*=\s*(\d+(?:\.\d+)?)")
_POOR = ("insufficient_credit", "lacks credit", "no_credit", "not enough credit")
_PENALTY = 12.0
"""Seconds in which no further order is taken after one that came too early."""
_USUAL = 5.0
"""Seconds to wait after a refusal that says no figure."""


def explained(answer: Answer) -> ProviderError | None:
    """What an answer means that is no success; ``None`` for what it means with every vendor."""
    code, words = _told(answer)
    about = f"{code} {words}".lower()
    if answer.status == 429:
        return _too_often(code, words, order=_orders(answer))
    if "invalid user key" in about or code == "auth_error":
        return AuthenticationFailed(f"Vast.ai does not know the key ({words}): {REMEDY}")
    if any(each in about for each in _POOR):
        return QuotaExceeded(
            f"the account at Vast.ai has no credit left ({words}): add some", quota="credit", url=BILLING
        )
    if _orders(answer) and (reason := _not_for_rent(answer.status, code, words)):
        return Unavailable(reason)
    if answer.status < 300 and isinstance(answer.body, Mapping) and answer.body.get("success") is False:
        return ProviderError(f"Vast.ai refuses {answer.method} {answer.path}: {words}")
    return None


def _orders(answer: Answer) -> bool:
    return answer.method == "PUT" and "/asks/" in answer.path


def _not_for_rent(status: int, code: str, words: str) -> str:
    """Why this machine cannot be had, and another one can; empty for any other refusal."""
    if status in (404, 410) or "no_such_ask" in f"{code} {words}":
        return "somebody else has rented it meanwhile, or it is not for rent any more"
    if code == "invalid_price":
        return f"the bid is too low by now ({words})"
    return f"it is not for rent to this account ({words})" if status == 403 else ""


def _too_often(code: str, words: str, *, order: bool) -> ProviderError:
    if code == "search_quota_exceeded":
        return QuotaExceeded(f"Vast.ai takes no more searches today ({words})", quota="searches in a day")
    found = _THRESHOLD.search(words)
    pause = _PENALTY if order else float(found[1]) if found else _USUAL
    return Transient(f"Vast.ai was asked too often ({words})", retry_after=pause)


def _told(answer: Answer) -> tuple[str, str]:
    """The code and the words of an answer, in which no secrets are: cut to what fits into a message."""
    body = answer.body
    if not isinstance(body, Mapping):
        return "", " ".join(str(body or f"status {answer.status}").split())[:300]
    code = str(body.get("error") or "")
    words = str(body.get("msg") or body.get("detail") or body.get("message") or code or f"status {answer.status}")
    return code, " ".join(words.split())[:300]
