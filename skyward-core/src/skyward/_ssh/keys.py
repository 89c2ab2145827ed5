"""Key pairs that live as long as a pool."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import asyncssh

from skyward.model.ssh import KeyPair

__all__ = ["new_key_pair", "on_disk"]


def new_key_pair(comment: str) -> KeyPair:
    """Make a key pair: for the client of a pool, or for a machine that gets its host key at its first boot."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    return KeyPair(key.export_private_key().decode(), key.export_public_key().decode().strip())


@contextlib.contextmanager
def on_disk(pair: KeyPair, path: Path) -> Iterator[Path]:
    """Keep the private key in a file of mode 0600 for as long as the block lasts, for programs such as ``ssh -i``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(pair.private)
        yield path
    finally:
        path.unlink(missing_ok=True)
