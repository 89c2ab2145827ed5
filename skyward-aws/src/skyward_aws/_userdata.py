"""What a machine does at its boot, as text for cloud-init: the keys of both ends, and the dead man's switch. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from skyward import ConfigurationError
from skyward.spi import KeyPair, PoolIdentity, first_boot_script

__all__ = ["user_data"]

_LIMIT = 16_384
"""Bytes, before they are encoded: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html."""


def user_data(identity: PoolIdentity, key: KeyPair, host_key: KeyPair, *, user: str, now: float) -> str:
    """The text.

    ``bootcmd`` runs at each boot, before the network is up, so a machine that never reaches anything ends itself, too.
    Its shutdown is the machine's end, as its launch template says.

    Args:
        identity: deadline and lease.
        key: lets the client in; its public half alone is in the text.
        host_key: of the machine's SSH server, by which the client knows it from the first contact on.
        user: who logs in.
        now: seconds since the epoch.

    Raises:
        ConfigurationError: it is longer than AWS takes.
    """
    lifetime = None if identity.deadline is None else max(identity.deadline - now, 1.0)
    switch = first_boot_script(lifetime=lifetime, lease=identity.lease, user=user)
    settings: Mapping[str, object] = {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
        "ssh_authorized_keys": [key.public],
        "ssh_pwauth": False,
        "bootcmd": [["sh", "-c", switch]],
    }
    # JSON is YAML as well, but for characters that JSON writes as two halves.
    text = "#cloud-config\n" + json.dumps(settings, ensure_ascii=False)
    if len(text.encode()) > _LIMIT:
        raise ConfigurationError(
            f"the user data has {len(text.encode())} bytes, and AWS takes {_LIMIT}: shorten `user`"
        )
    return text
