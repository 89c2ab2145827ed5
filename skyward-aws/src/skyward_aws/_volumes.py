"""Buckets as volumes: looked at before anything is bought, and the credentials that nodes mount them with."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skyward import AuthenticationFailed, ProviderError, S3Volume, Unavailable
from skyward.spi import Mount, S3Credentials, is_this_machine
from skyward_aws._errors import code_of

if TYPE_CHECKING:
    from skyward_aws._api import Api
    from skyward_aws._settings import AWS

__all__ = ["Volumes", "policy"]

_log = logging.getLogger("skyward.aws")

_SHORTEST, _LONGEST = 900, 129_600
"""Seconds that a federation token may be good for, by
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html."""
_MARGIN = 600.0
"""Seconds that credentials outlive the pool's deadline, so that its last files get through."""
_REUSED = 300.0
"""Seconds for which machines that start at the same time get the same credentials."""


class Volumes:
    """The volumes of one pool.

    Args:
        api: the account.
        settings: the user's.
    """

    def __init__(self, api: Api, settings: AWS) -> None:
        self._api = api
        self._settings = settings
        self._regions: dict[str, str] = {}
        self._lent: tuple[float, S3Credentials] | None = None
        self._lending = asyncio.Lock()
        self.asked: tuple[S3Volume, ...] = ()

    async def check(self, asked: Sequence[S3Volume]) -> None:
        """See that the buckets are there and can be read, once.

        Raises:
            Unavailable: there is no such bucket, or nodes cannot reach the endpoint.
            AuthenticationFailed: this client may not read one, by whose credentials nodes would.
        """
        self.asked = tuple(asked)
        if self.asked:
            self._endpoint()
        await asyncio.gather(*(self._look(volume) for volume in self.asked))

    async def _look(self, volume: S3Volume) -> None:
        if volume.bucket in self._regions:
            return
        answer: dict[str, Any]
        try:
            answer = await self._api.ask(
                "list_objects_v2", service="s3", Bucket=volume.bucket, Prefix=volume.prefix, MaxKeys=1
            )
        except ProviderError as error:
            answer = getattr(error.__cause__, "response", None) or {}
            match code_of(error.__cause__) if isinstance(error.__cause__, Exception) else "":
                case "NoSuchBucket":
                    raise Unavailable(f"there is no bucket {volume.bucket!r}: check the name in S3Volume") from error
                case "AccessDenied" if self._settings.instance_profile is None:
                    raise AuthenticationFailed(
                        f"AWS does not let this client read {_name(volume)}, and nodes would do so in its name: allow "
                        "s3:ListBucket on the bucket and s3:GetObject on its objects, or give nodes a role of their "
                        "own by AWS(instance_profile=...)"
                    ) from error
                case "AccessDenied":  # their role may
                    pass
                case _:
                    raise
        headers: dict[str, Any] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._regions[volume.bucket] = str(headers.get("x-amz-bucket-region") or self._settings.region)

    def _endpoint(self) -> str | None:
        """Where nodes find S3, if that is not Amazon's own place.

        Raises:
            Unavailable: it is on this machine alone.
        """
        endpoint = self._api.endpoint("s3")
        host = urlsplit(endpoint).hostname or ""
        if re.search(r"(^|\.)amazonaws\.com(\.cn)?$", host):
            return None
        if is_this_machine(host):
            raise Unavailable(
                f"S3 is asked at {endpoint}, which nodes cannot reach: set AWS_ENDPOINT_URL_S3 to an address that they "
                "can, or leave volume=... out"
            )
        return endpoint

    async def mounts(self, deadline: float | None) -> list[Mount]:
        """What a machine needs to mount them. ``deadline`` of the pool is in seconds since the epoch."""
        endpoint, own = self._endpoint(), await self._credentials(deadline)
        return [
            Mount(
                volume=volume,
                credentials=own,
                region=self._regions.get(volume.bucket, self._settings.region),
                endpoint=endpoint,
            )
            for volume in self.asked
        ]

    async def _credentials(self, deadline: float | None) -> S3Credentials | None:
        """Those of the machine's role, which it has by itself; else short-lived ones, for these volumes alone.

        A client that has short-lived credentials itself cannot get others for them, and lends its own.
        """
        if self._settings.instance_profile is not None:
            return None
        async with self._lending:
            now = time.time()
            if self._lent is None or now - self._lent[0] > _REUSED:
                self._lent = (now, await self._lend(now, deadline))
            return self._lent[1]

    async def _lend(self, now: float, deadline: float | None) -> S3Credentials:
        key, secret, token = await self._api.credentials()
        if token:
            _log.warning(
                "the nodes mount their volumes with this client's own credentials, for as long as these are good: give "
                "them a role of their own by AWS(instance_profile=...)"
            )
            return S3Credentials(key, secret, token)
        left = _LONGEST if deadline is None else deadline + _MARGIN - now
        seconds = int(max(_SHORTEST, min(_LONGEST, left)))
        if left > _LONGEST:
            _log.warning(
                "the volumes can be used for %d h and not until the pool's end: give the nodes a role of their own by "
                "AWS(instance_profile=...)",
                _LONGEST // 3600,
            )
        try:
            answer = await self._api.ask(
                "get_federation_token",
                service="sts",
                Name="skyward-volumes",
                Policy=policy(self.asked, self._settings.region),
                DurationSeconds=seconds,
            )
        except AuthenticationFailed as error:
            raise AuthenticationFailed(
                f"the nodes get no credentials for their volumes: {error}; or give them a role of their own by "
                "AWS(instance_profile=...)"
            ) from error
        told = answer["Credentials"]
        return S3Credentials(told["AccessKeyId"], told["SecretAccessKey"], told["SessionToken"])


def policy(volumes: Sequence[S3Volume], region: str) -> str:
    """What nodes may do, of what the user may: use these volumes. Of keys only those that S3 itself uses for them."""
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    statements: list[dict[str, Any]] = []
    for volume in volumes:
        bucket = f"arn:{partition}:s3:::{volume.bucket}"
        condition = {"Condition": {"StringLike": {"s3:prefix": [f"{volume.prefix}*"]}}} if volume.prefix else {}
        writing = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        statements += [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket, **condition},
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", *(() if volume.read_only else writing)],
                "Resource": f"{bucket}/{volume.prefix}*",
            },
        ]
    statements.append(
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
            "Condition": {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com*"}},
        }
    )
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _name(volume: S3Volume) -> str:
    return f"s3://{volume.bucket}/{volume.prefix}"
