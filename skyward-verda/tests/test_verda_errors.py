"""What Verda's refusals mean to a pool."""

from __future__ import annotations

import pickle

import pytest

from skyward import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.spi import Answer
from skyward_verda._errors import Unknown, explained

ORDER, END, ASK, TOKEN = "POST /instances", "PUT /instances", "GET /scripts", "POST /oauth2/token"


@pytest.mark.parametrize(
    ("question", "status", "code", "message", "kind"),
    [
        (ORDER, 402, "insufficient_funds", "Insufficient funds", QuotaExceeded),
        (ORDER, 400, "invalid_request", "Your balance is too low", QuotaExceeded),
        (ORDER, 503, "service_unavailable", "Not enough resources are available", Unavailable),
        (ORDER, 503, "service_unavailable", "Insufficient capacity", Unavailable),
        (ORDER, 400, "invalid_request", "No instances are available", Unavailable),
        (ORDER, 503, "service_unavailable", "Service unavailable", None),
        (ORDER, 500, "server_error", "Not enough capacity", None),
        (ORDER, 400, "invalid_request", "Quota exceeded", QuotaExceeded),
        (ORDER, 400, "invalid_request", "Invalid hostname", Unavailable),
        (ORDER, 401, "unauthorized_request", "Invalid token", AuthenticationFailed),
        (ORDER, 403, "forbidden_action", "Not allowed", None),
        (ORDER, 429, "too_many_requests", "Slow down", None),
        (END, 400, "invalid_request", "Invalid instance id", Unknown),
        (END, 400, "invalid_request", "Can't discontinue a discontinued instance", Unknown),
        (END, 400, "forbidden_action", "Can't discontinue a provisioning instance", Transient),
        (END, 400, "invalid_request", "Something else", Unavailable),
        (ASK, 400, "invalid_request", "Something else", Unavailable),
        (ASK, 404, "not_found", "Not found", None),
        (ASK, 500, "server_error", "Oh", None),
        (TOKEN, 400, "unauthorized_request", "Invalid client id or client secret", AuthenticationFailed),
        (TOKEN, 400, "invalid_request", "The client is unknown", AuthenticationFailed),
        (TOKEN, 503, "service_unavailable", "Service unavailable", None),
    ],
)
def test_a_refusal_means(question: str, status: int, code: str, message: str, kind: type[ProviderError] | None) -> None:
    method, path = question.split()
    body = {"code": code, "message": message}
    error = explained(Answer(status=status, body=body, method=method, path=path, words=message))
    assert type(error) is (type(None) if kind is None else kind)
    if error is not None:
        assert message in str(error)
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.args) == (type(error), error.args)


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([{"status": "success"}], None),
        ([], None),
        (None, None),
        ("done", None),
        ([{"status": "success"}, {"status": "error", "error": "Invalid instance id"}], Unknown),
        ([{"status": "error", "error": "Can't discontinue a provisioning instance"}], Transient),
        ([{"status": "error"}], Transient),
        ([{"error": "on fire"}], Transient),
    ],
)
def test_an_action_that_was_taken_on_may_have_failed_for_an_instance(
    results: object, kind: type[ProviderError] | None
) -> None:
    for status in (202, 207):
        error = explained(Answer(status=status, body=results, method="PUT", path="/instances"))
        assert type(error) is (type(None) if kind is None else kind)
