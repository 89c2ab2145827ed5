"""What containers mount buckets with: the credentials of the client's environment, which stay on its own machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skyward import AuthenticationFailed, Unavailable
from skyward.spi import Mount, S3Credentials, is_this_machine

if TYPE_CHECKING:
    from skyward import S3Volume

__all__ = ["FUSE", "OPTIONS", "mounts_of"]

FUSE = "/dev/fuse"
OPTIONS = ("--device", FUSE, "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined")
"""What a container needs beside to mount something: the device, the right, and a profile that does not forbid it."""


def mounts_of(volumes: Sequence[S3Volume]) -> list[Mount]:
    """The volumes with what the environment of this process says of S3, by the names that AWS's own tools read.

    Raises:
        Unavailable: this machine has no FUSE, or S3 is at an address that containers cannot reach.
        AuthenticationFailed: there are no credentials.
    """
    if not volumes:
        return []
    if not os.path.exists(FUSE):
        raise Unavailable(
            f"this machine has no {FUSE}, through which volumes are mounted: `sudo modprobe fuse`, or leave volume=... "
            "out"
        )
    known = os.environ
    endpoint = known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL") or None
    if endpoint is not None and is_this_machine(urlsplit(endpoint).hostname or ""):
        raise Unavailable(
            f"AWS_ENDPOINT_URL_S3 is {endpoint}, where a container finds only itself: name an address of this machine "
            "that containers can reach"
        )
    key, secret = known.get("AWS_ACCESS_KEY_ID", ""), known.get("AWS_SECRET_ACCESS_KEY", "")
    if not key or not secret:
        raise AuthenticationFailed(
            "containers mount volumes with the credentials of this environment, and it has none: set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN for short-lived ones"
        )
    own = S3Credentials(key, secret, known.get("AWS_SESSION_TOKEN", ""))
    region = known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION") or "us-east-1"
    return [Mount(volume=volume, credentials=own, region=region, endpoint=endpoint) for volume in volumes]
