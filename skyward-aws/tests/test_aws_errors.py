"""Every refusal of AWS becomes one of the contract's four, which says what to do."""

from __future__ import annotations

import pickle

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError, ReadTimeoutError

from skyward import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward_aws._errors import combined, is_unclear, refused, translated


def answer(code: str, status: int = 400, message: str = "words.") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "CreateFleet",
    )


@pytest.mark.parametrize(
    ("code", "status", "kind", "remedy"),
    [
        ("AuthFailure", 401, AuthenticationFailed, "AWS_ACCESS_KEY_ID"),
        ("InvalidClientTokenId", 403, AuthenticationFailed, "AWS_ACCESS_KEY_ID"),
        ("ExpiredToken", 403, AuthenticationFailed, "AWS_SESSION_TOKEN"),
        ("RequestExpired", 400, AuthenticationFailed, "clock"),
        ("UnauthorizedOperation", 403, AuthenticationFailed, "add ec2:CreateFleet to the policy"),
        ("AccessDeniedException", 400, AuthenticationFailed, "add ec2:CreateFleet to the policy"),
        ("OptInRequired", 401, AuthenticationFailed, "https://console.aws.amazon.com/billing"),
        ("VcpuLimitExceeded", 400, QuotaExceeded, "https://eu-west-1.console.aws.amazon.com/servicequotas/"),
        ("InstanceLimitExceeded", 400, QuotaExceeded, "servicequotas"),
        ("InsufficientInstanceCapacity", 500, Unavailable, "InsufficientInstanceCapacity"),
        ("Unsupported", 400, Unavailable, "Unsupported"),
        ("SpotMaxPriceTooLow", 400, Unavailable, ""),
        ("RequestLimitExceeded", 503, Transient, "patience"),
        ("InternalError", 500, Transient, "failed at AWS"),
        ("NobodyKnowsThisOne", 503, Transient, ""),
        ("NobodyKnowsThisOne", 400, Unavailable, "NobodyKnowsThisOne"),
    ],
)
def test_a_code_becomes_an_error_with_its_remedy(
    code: str, status: int, kind: type[ProviderError], remedy: str
) -> None:
    error = translated(answer(code, status), "ec2:CreateFleet", "eu-west-1")
    assert type(error) is kind
    assert remedy in str(error)
    assert "words" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_encoded_part_of_a_refusal_is_left_out() -> None:
    long = "You are not allowed: ec2:CreateFleet. Encoded authorization failure message: " + "Zx" * 400
    error = translated(answer("UnauthorizedOperation", 403, long), "ec2:CreateFleet", "eu-west-1")
    assert "You are not allowed: ec2:CreateFleet" in str(error)
    assert "ZxZx" not in str(error)


@pytest.mark.parametrize(
    ("error", "unclear"),
    [
        (answer("InternalError", 500), True),
        (answer("NobodyKnowsThisOne", 502), True),
        (answer("InsufficientInstanceCapacity", 500), False),
        (answer("RequestLimitExceeded", 503), False),
        (answer("UnauthorizedOperation", 403), False),
        (ReadTimeoutError(endpoint_url="https://ec2"), True),
        (ConnectTimeoutError(endpoint_url="https://ec2"), False),
        (NoCredentialsError(), False),
    ],
)
def test_an_order_is_unclear_when_it_may_have_been_carried_out(error: Exception, unclear: bool) -> None:
    assert is_unclear(error) is unclear


def test_an_error_that_is_not_of_aws_is_left_as_it_is() -> None:
    assert translated(ZeroDivisionError("1/0"), "ec2:CreateFleet", "eu-west-1") is None
    assert translated(ConnectionError("x"), "ec2:CreateFleet", "eu-west-1") is None


@pytest.mark.parametrize(
    ("kind", "market", "quota"),
    [
        ("m7i.large", "on-demand", "'Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances' (L-1216C47A"),
        ("m7i.large", "spot", "L-34B43A08"),
        ("is4gen.large", "spot", "L-34B43A08"),
        ("g5.xlarge", "on-demand", "'Running On-Demand G and VT instances' (L-DB2E81BA"),
        ("gr6.4xlarge", "spot", "L-3819A6DF"),
        ("p4d.24xlarge", "spot", "L-7212CCBC"),
        ("p5.48xlarge", "spot", "'All P5 Spot Instance Requests' (L-C4BD4855"),
        ("p5.48xlarge", "on-demand", "L-417A185B"),
        ("inf2.xlarge", "on-demand", "L-1945791B"),
        ("trn1.2xlarge", "spot", "L-6B0D517C"),
    ],
)
def test_the_quota_of_a_kind_of_machine_is_named(kind: str, market: str, quota: str) -> None:
    error = refused("VcpuLimitExceeded", "no.", "ec2:CreateFleet", "us-east-1", kind=kind, market=market)
    assert quota in str(error)


def test_of_several_errors_the_gravest_decides_and_each_is_told_once() -> None:
    lack, over, locked = Unavailable("none left"), QuotaExceeded("too many"), AuthenticationFailed("who")
    assert str(combined([lack, lack])) == "none left"
    assert type(combined([lack, over])) is QuotaExceeded
    assert str(combined([lack, over])) == "none left; too many"
    assert type(combined([over, locked, lack])) is AuthenticationFailed
    assert type(combined([Transient("a"), Transient("b")])) is Transient
    assert type(combined([Transient("a"), lack])) is Unavailable
