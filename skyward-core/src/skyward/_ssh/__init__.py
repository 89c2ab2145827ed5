"""Machines reached over SSH: connecting with verified host keys, making them ready, and the links to their sockets.

The one package that imports asyncssh, which comes with ``skyward-core[ssh]``. Nothing loads it before a pool is entered
whose provider needs it.
"""

from __future__ import annotations

from skyward.errors import ConfigurationError

try:
    import asyncssh as asyncssh
except ImportError as error:
    raise ConfigurationError(
        "this provider reaches its machines over SSH, and the package asyncssh is not installed: "
        "pip install 'skyward-core[ssh]'"
    ) from error

from skyward._ssh.keys import new_key_pair
from skyward._ssh.transport import SshTransport

__all__ = ["SshTransport", "new_key_pair"]
