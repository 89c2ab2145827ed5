"""What a refusal means, as one of the contract's errors, where the vendor's own package does not know better."""

from __future__ import annotations

from skyward._rest.answer import Answer
from skyward.errors import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable

__all__ = ["CERTAIN", "UNCLEAR", "refusal"]

CERTAIN = (Unavailable, QuotaExceeded, AuthenticationFailed)
"""Readings of an answer 5xx that say for certain that it had no effect."""
UNCLEAR = frozenset({408, 499})
"""Statuses below 500 after which nobody knows whether a request had its effect: somebody in between gave up waiting."""
_AGAIN = frozenset({408, 425, 499})
_NEVER = frozenset({501, 505})


def refusal(answer: Answer, vendor: str, remedy: str) -> ProviderError:  # noqa: PLR0911  a table
    """The error for a status that is no success.

    Args:
        answer: with the status.
        vendor: its name.
        remedy: which variable or file to set.
    """
    status, said, question = answer.status, answer.words, f"{answer.method} {answer.path}"
    tail = f"{question} with {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        return AuthenticationFailed(f"{vendor} refuses {tail}" + (f"; {remedy}" if remedy else ""))
    if status == 402:
        return QuotaExceeded(f"{vendor} refuses {tail}; the account's balance is too low: add funds", quota="balance")
    if status in (404, 410):
        return Unavailable(
            f"{vendor} does not know what {question} asks for ({status})" + (f": {said}" if said else "")
        )
    if status == 429:
        return Transient(f"{vendor} has had too many requests and answers {tail}; try again later")
    if status in _AGAIN or (status >= 500 and status not in _NEVER):
        return Transient(f"{vendor} failed and answers {tail}; try again later")
    if 300 <= status < 400:
        return ProviderError(
            f"{vendor} answers {question} with {status}, that it is elsewhere, where no credentials are sent: check "
            "the endpoint"
        )
    return ProviderError(f"{vendor} refuses {tail}")
