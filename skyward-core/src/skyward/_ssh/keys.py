"""Key pairs that live as long as a pool, and the user's own that nobody has unlocked.

A pool's keys are in the memory of its client and nowhere else, so that no client leaves one behind, however it ends.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

import asyncssh

from skyward.model.ssh import KeyPair

__all__ = ["locked", "new_key_pair"]


def new_key_pair(comment: str) -> KeyPair:
    """Make an ed25519 key pair: for the client of a pool, or for a machine that gets its host key at its first boot.

    ``comment`` ends the public key and says whose it is. Made for each pool anew, it is of no use after it. That takes
    less than a millisecond.
    """
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    return KeyPair(key.export_private_key().decode(), key.export_public_key().decode().strip())


def locked(identities: Sequence[str] | None) -> str:
    """For messages of a client that was not let in: the keys among these that a passphrase protects, and the remedy.

    Nobody is asked for a passphrase, so such a key is of use through the agent only. ``None`` stands for the keys that
    are tried where none are named. Empty when there is no such key.
    """
    if identities is None:
        own = glob.glob(os.path.expanduser("~/.ssh/id_*"))
        identities = [path for path in sorted(own) if not path.endswith(".pub")]
    found = [path for path in identities if _is_locked(path)]
    if not found:
        return ""
    return f"; {' and '.join(found)} has a passphrase: `ssh-add {found[0]}` gives it to the agent, which is asked"


def _is_locked(path: str) -> bool:
    try:
        asyncssh.read_private_key(path)
    except asyncssh.KeyImportError as error:
        return "passphrase" in str(error).lower()
    except (OSError, ValueError):
        pass
    return False
