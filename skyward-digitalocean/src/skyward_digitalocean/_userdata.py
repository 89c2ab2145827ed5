"""What a droplet does at its boot, as text for cloud-init: its host key, and the switch that powers it off. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from skyward import ConfigurationError
from skyward.spi import KeyPair

__all__ = ["user_data"]

_LIMIT = 65_536
"""Bytes: https://docs.digitalocean.com/reference/api/ says 64 KiB of ``user_data``."""


def user_data(script: str, host_key: KeyPair) -> str:
    """The text.

    ``bootcmd`` runs at each boot, before the network is up, so a droplet that never reaches anything powers itself off,
    too. The client's key is not in it: DigitalOcean puts that of the request into root's authorized keys, and without
    one would mail a password to the account's owner.

    Args:
        script: shell text that arms the droplet's deadline and lease.
        host_key: of the droplet's SSH server, by which the client knows it from the first contact on.

    Raises:
        ConfigurationError: it is longer than DigitalOcean takes.
    """
    settings: Mapping[str, object] = {
        "disable_root": False,
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
        "ssh_pwauth": False,
        "bootcmd": [["sh", "-c", script]],
    }
    # JSON is YAML as well, but for characters that JSON writes as two halves.
    text = "#cloud-config\n" + json.dumps(settings, ensure_ascii=False)
    if len(text.encode()) > _LIMIT:
        raise ConfigurationError(
            f"the user data has {len(text.encode())} bytes, and DigitalOcean takes {_LIMIT}: report this"
        )
    return text
