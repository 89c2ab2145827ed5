"""What an instance runs at its start: the pool's key for logging in, and the dead man's switch. Pure: text from text.

The switch ends the instance by Vast.ai's interface, with the key that Vast.ai itself gives each instance and that can
start, stop and destroy this one alone: ``CONTAINER_API_KEY``, beside ``CONTAINER_ID``, in the environment of process 1,
which only root reads. It is handed on by standard input or by a file for root alone, never on a command line.
"""

from __future__ import annotations

import base64
import gzip
import shlex

from skyward import ConfigurationError
from skyward.spi import KeyPair

__all__ = ["END", "fitted", "onstart"]

_LIMIT = 4048
"""Characters of ``onstart`` that Vast.ai takes."""
_FILE = "/run/skyward/end.sh"
END = f"sh {_FILE}"
"""What ends the instance: for ``first_boot_script``."""

# curl and wget are not in every image, and neither is Python. What one of them has done needs no other.
_END = r"""umask 077
of() { tr '\000' '\n' </proc/1/environ | sed -n "s/^$1=//p" | head -n 1; }
id=$(of CONTAINER_ID) key=$(of CONTAINER_API_KEY)
id=${id:-$CONTAINER_ID} key=${key:-$CONTAINER_API_KEY}
[ -n "$id" ] && [ -n "$key" ] || exit 1
url=@endpoint@/api/v0/instances/$id/
header() { printf '%s: Bearer %s\n' "$1" "$key"; }
if command -v curl >/dev/null; then
    header Authorization | curl -fsS -m 60 -X DELETE -H @- "$url" && exit
fi
if command -v wget >/dev/null; then
    file=$(mktemp)
    header 'header = Authorization' >"$file"
    wget -q -O - -T 60 --config="$file" --method=DELETE "$url" && done=yes
    rm -f "$file"
    [ -z "$done" ] || exit 0
fi
for python in python3 /usr/bin/python3 /opt/conda/bin/python3; do
    header Authorization | $python -c 'import sys, urllib.request as u
n, v = sys.stdin.read().strip().split(": ")
u.urlopen(u.Request(sys.argv[1], method="DELETE", headers={n: v}), timeout=60)' "$url" && exit
done
"""
_START = r"""umask 077
mkdir -p /run/skyward ~/.ssh
touch ~/.no_auto_tmux
key=@key@
grep -qsF "$key" ~/.ssh/authorized_keys || printf '\n%s\n' "$key" >>~/.ssh/authorized_keys
cat >@file@ <<'@@'
@end@@@
sh <<'@@@'
@switch@@@@
"""


def onstart(switch: str, key: KeyPair, endpoint: str) -> str:
    """The text.

    Args:
        switch: what ``first_boot_script`` gave, with `END`.
        key: lets the client in; its public half alone is in the text.
        endpoint: where Vast.ai is asked.

    Raises:
        ConfigurationError: it is longer than Vast.ai takes.
    """
    text = _START.replace("@key@", shlex.quote(key.public)).replace("@file@", _FILE)
    text = text.replace("@end@", _END.replace("@endpoint@", shlex.quote(endpoint)))
    return fitted(text.replace("@switch@", switch))


def fitted(text: str) -> str:
    """A shell text as it is, or in a form that takes less room: it unpacks itself with gzip, which every image has.

    Raises:
        ConfigurationError: that is too long as well.
    """
    if len(text) <= _LIMIT and text.isascii():
        return text
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    short = f"echo {packed} | base64 -d | gzip -dc | sh\n"
    if len(short) > _LIMIT:
        raise ConfigurationError(
            f"what an instance runs at its start has {len(short)} characters, and Vast.ai takes {_LIMIT}: shorten "
            "`endpoint`"
        )
    return short
