"""What AWS refuses, in skyward's words. Pure: an error in, one of the four of the contract out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from skyward import AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward_aws._quotas import quota

__all__ = ["Unclear", "code_of", "combined", "is_unclear", "refused", "translated"]

_LOGIN = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of ~/.aws/config"

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html and each service's "Common Errors".
_UNKNOWN_KEYS = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedAccess", "UnauthorizedOperation"}
_ACCOUNT = {"AccountDisabled", "Blocked", "OptInRequired", "PendingVerification", "SubscriptionRequiredException"}
_QUOTA = {
    "AddressLimitExceeded",
    "InstanceLimitExceeded",
    "KeyPairLimitExceeded",
    "MaxSpotFleetRequestCountExceeded",
    "MaxSpotInstanceCountExceeded",
    "NetworkInterfaceLimitExceeded",
    "PrivateIpAddressLimitExceeded",
    "ResourceCountExceeded",
    "ResourceLimitExceeded",
    "RulesPerSecurityGroupLimitExceeded",
    "SecurityGroupLimitExceeded",
    "SecurityGroupsPerInstanceLimitExceeded",
    "VcpuLimitExceeded",
    "VolumeLimitExceeded",
}
_THROTTLED = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_PASSING = {"InternalError", "InternalFailure", "RequestTimeout", "ServiceUnavailable", "Unavailable"}
_CAPACITY = {
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
}

# Codes, what they mean, and what to do.
_LOCKED_OUT = (
    (
        _UNKNOWN_KEYS,
        "AWS refuses the credentials in {region}",
        f"{_LOGIN}, or enable the region for the account, since others refuse all credentials",
    ),
    (
        _EXPIRED,
        "the credentials for AWS have expired",
        "get new ones, as by `aws sso login`, for AWS_PROFILE or AWS_SESSION_TOKEN, or set this machine's clock",
    ),
    (
        _FORBIDDEN,
        "AWS does not allow {action} in {region}",
        "add {action} to the policy of the user or role that AWS_PROFILE or AWS_ACCESS_KEY_ID stands for",
    ),
    (
        _ACCOUNT,
        "AWS does not serve this account in {region}",
        "see https://console.aws.amazon.com/billing/home#/account, or choose another account with AWS_PROFILE",
    ),
)

# What botocore raises itself, by class name, so that this module needs no botocore. The first that fits counts.
_LOCAL: tuple[tuple[str, type[ProviderError], str], ...] = (
    ("ProfileNotFound", AuthenticationFailed, "name one of ~/.aws/config in AWS_PROFILE, or in AWS(profile=...)"),
    ("NoCredentialsError", AuthenticationFailed, _LOGIN),
    ("PartialCredentialsError", AuthenticationFailed, _LOGIN),
    ("NoRegionError", AuthenticationFailed, "name it in AWS(region=...), or in AWS_REGION"),
    ("SSOError", AuthenticationFailed, "log in with `aws sso login`, for the profile that AWS_PROFILE names"),
    (
        "TokenRetrievalError",
        AuthenticationFailed,
        "log in with `aws sso login`, for the profile that AWS_PROFILE names",
    ),
    ("UnauthorizedSSOTokenError", AuthenticationFailed, "log in with `aws sso login` for AWS_PROFILE"),
    ("SSOTokenLoadError", AuthenticationFailed, "log in with `aws sso login` for AWS_PROFILE"),
    ("CredentialRetrievalError", AuthenticationFailed, "look at what ~/.aws/config says of the profile"),
    ("ConfigParseError", AuthenticationFailed, "mend ~/.aws/config"),
    ("ConfigNotFound", AuthenticationFailed, "make the file that AWS_CONFIG_FILE names"),
    ("MetadataRetrievalError", AuthenticationFailed, _LOGIN),
    ("ProxyConnectionError", Transient, "look at HTTPS_PROXY"),
    ("SSLError", Transient, "if a proxy signs anew what comes through it, name its certificate in AWS_CA_BUNDLE"),
    ("EndpointConnectionError", Transient, "see that the region is right and that this machine has a network"),
    ("HTTPClientError", Transient, "see that this machine has a network"),
    ("ConnectionError", Transient, "see that this machine has a network"),
    ("ResponseParserError", Transient, "what answered may be a proxy: see what stands between"),
    ("MissingDependencyException", AuthenticationFailed, "install botocore[crt] for this kind of ~/.aws login"),
    ("BotoCoreError", Unavailable, "see that the settings of AWS(...) are right"),
)


class Unclear(Transient):
    """Nobody knows whether what was ordered was created."""


def code_of(error: Exception) -> str:
    """The code of an answer that AWS gave; empty for an error of botocore's own."""
    response: Any = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return str(found).removeprefix("Client.").removeprefix("Server.")


def is_unclear(error: Exception) -> bool:
    """Whether nobody can know if the request was carried out: no answer came, or the server failed."""
    code = code_of(error)
    if code in _THROTTLED or code in _CAPACITY:
        return False
    if code:
        return code in _PASSING or _status(error) >= 500
    names = {kind.__name__ for kind in type(error).__mro__}
    before = {"ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError", "NoCredentialsError"}
    return bool({"HTTPClientError", "ConnectionError", "ResponseParserError"} & names) and not before & names


def translated(error: Exception, action: str, region: str) -> ProviderError | None:
    """What an error means to a pool; ``None`` for one that has nothing to do with AWS.

    Args:
        error: as boto3 raised it.
        action: what was asked for, as in a policy: ``"ec2:CreateFleet"``.
        region: where.
    """
    if code := code_of(error):
        told = getattr(error, "response", {})["Error"].get("Message", "")
        return refused(code, str(told), action, region, status=_status(error))
    names = {kind.__name__ for kind in type(error).__mro__}
    for name, kind, remedy in _LOCAL:
        if name in names and type(error).__module__.partition(".")[0] in ("boto3", "botocore"):
            where = "no credentials for AWS" if kind is AuthenticationFailed else f"{action} in {region}"
            return kind(f"{where}: {_sentence(str(error))}: {remedy}")
    return None


def refused(
    code: str, message: str, action: str, region: str, *, kind: str = "", market: str = "on-demand", status: int = 400
) -> ProviderError:
    """What a refusal means to a pool.

    Args:
        code: of AWS.
        message: its words.
        action: what was asked for, as in a policy.
        region: where.
        kind: the instance type, where there is one, by which the quota is found.
        market: likewise.
        status: of HTTP.
    """
    said = f"{_sentence(message)} ({code})"
    if code in _QUOTA:
        return QuotaExceeded(f"{said}: {quota(code, kind, market, region)}")
    if code in _CAPACITY:
        return Unavailable(said)
    if code in _THROTTLED:
        return Transient(f"AWS asks for patience with {action} in {region}: {said}", retry_after=2.0)
    for codes, fact, remedy in _LOCKED_OUT:
        if code in codes:
            # One action may need others, as launching with a role needs iam:PassRole: AWS names what it missed.
            missed = re.search(r"not authorized to perform: ([a-z0-9-]+:\w+)", message)
            words = {"action": missed[1] if missed else action, "region": region}
            return AuthenticationFailed(f"{fact.format(**words)}: {said}: {remedy.format(**words)}")
    if code in _PASSING or status >= 500:
        return Transient(f"{action} in {region} failed at AWS: {said}")
    return Unavailable(f"AWS refuses {action} in {region}: {said}")


def combined(errors: Iterable[ProviderError], separator: str = "; ") -> ProviderError:
    """One error for several, each of which is told once: the kind is that of the gravest."""
    told = list(errors)
    words = separator.join(dict.fromkeys(str(each) for each in told))
    for kind in (AuthenticationFailed, QuotaExceeded):
        if any(isinstance(each, kind) for each in told):
            return kind(words)
    if told and all(isinstance(each, Transient) for each in told):
        return Transient(words)
    return Unavailable(words or "AWS gave no machine, and no reason")


def _status(error: Exception) -> int:
    response: Any = getattr(error, "response", None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(response, dict) else 0
    return status if isinstance(status, int) else 0


def _sentence(message: str) -> str:
    """Without the encoded part, which is of no use to a reader and may be long, and without a full stop."""
    text = re.sub(r"\s*Encoded authorization failure message: \S+", "", message)
    return " ".join(text.split()).rstrip(".: ") or "it does not say why"
