"""The shell text around the bootstrap script: what is asked before it, and the start of the supervisor after it."""

from __future__ import annotations

import json
import time
from typing import Any

from skyward.spi.provider import PoolIdentity

__all__ = ["ASK", "MARK", "START", "WHY", "settings"]

MARK = "::ssh::"
"""Begins the lines that answer, among whatever a login shell prints."""

# Where everything goes: what is given, else a folder of the system for root, else one of the user's.
ASK = f"""
set -eu
root=${{SKYWARD_ROOT:-}}
if [ -z "$root" ]; then
    if [ "$(id -u)" = 0 ]; then root=/opt/skyward; else root=$HOME/.skyward; fi
fi
mkdir -p "$root"
printf '{MARK} root %s\\n' "$root"
printf '{MARK} payload %s\\n' "$({{ sha256sum <"$root/payload.tar.gz"; }} 2>/dev/null | cut -c 1-64)"
"""

# Runs behind the script, in the same shell, with the lock that the script took: two starts cannot meet. A worker that
# does not start is told as a failure of the phase that made its launcher.
START = """
name=server command=skyward-node
[ ! -e "$root/volumes/unmount" ] || export SKYWARD_AT_END="$root/volumes/unmount"
printf '%s\\n' "$SKYWARD_SETTINGS" | env -u SKYWARD_SETTINGS "$root/bin/skyward-node" 9>&-
command=''
"""

# Why a socket of the node cannot be reached: "alive", or the last words of a supervisor that has ended. One that nobody
# has waited for, as in a container whose first process does not, still has a number.
WHY = f"""
pid=$(cat "$FOLDER/pid" 2>/dev/null) || pid=0
ended() {{ grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null; }}
if [ "$pid" != 0 ] && kill -0 "$pid" 2>/dev/null && ! ended; then
    echo '{MARK} alive'
else
    tail -n 15 "$FOLDER.log" 2>/dev/null | sed 's/^/{MARK} said /'
fi
"""


def settings(identity: PoolIdentity, folder: str) -> str:
    """The line of JSON that a supervisor is started with, which makes its folder and its socket itself."""
    values: dict[str, Any] = {
        "token": identity.token.hex(),
        "directory": folder,
        "listener": None,
        "lease": identity.lease,
        "lifetime": None if identity.deadline is None else identity.deadline - time.time(),
    }
    return json.dumps(values)
