"""What a pod does at its start: the dead man's switch, then the SSH server of its image. Pure: text in, text out.

RunPod has no field for a script. A pod's ``args`` take the place of its image's command, which starts the SSH server in
images that are made for RunPod, so the script goes on with that. It travels in a variable of the pod, since ``args``
are taken apart by rules that are not published; what stands in ``args`` is the same by any of them.
"""

from __future__ import annotations

import base64
import math
import shlex

__all__ = ["ARGS", "END", "SCRIPT", "boot", "ending"]

SCRIPT = "SKYWARD_BOOT"
"""The variable that holds the script, in base64."""
ARGS = f"sh -c 'echo ${SCRIPT} | base64 -d >/run/skyward-boot.sh; exec sh /run/skyward-boot.sh'"
END = "sh /run/skyward-end.sh"
"""Ends the pod, as shell text for whoever is on it."""

# The key is the one that RunPod gives to each pod. It goes to curl and to Python by ways that nobody else can read: a
# command line could be read by all. A pod whose first process ends is started again and costs on, so nothing but its
# deletion will do. The program of RunPod's own is there for images without the others.
_ENDING = r"""
of() { tr '\0' '\n' 2>/dev/null </proc/1/environ | sed -n "s/^$1=//p"; }
key=$(of RUNPOD_API_KEY) pod=$(of RUNPOD_POD_ID)
key=${key:-${RUNPOD_API_KEY:-}} pod=${pod:-${RUNPOD_POD_ID:-}}
url=%ENDPOINT%/v2/pods/$pod

by_curl() {
    command -v curl >/dev/null || return 1
    printf 'header = "Authorization: Bearer %s"\n' "$key" | curl -fsS -m 30 -o /dev/null -X DELETE -K - "$url"
}

by_python() {
    command -v python3 >/dev/null || return 1
    { printf '%s\n' "$key" "$url"; } | python3 -c '
import sys, urllib.request as web
key, url = sys.stdin.read().split()
ask = web.Request(url, method="DELETE", headers={"Authorization": "Bearer " + key, "User-Agent": "skyward"})
web.urlopen(ask, timeout=30)
'
}

by_runpodctl() {
    command -v runpodctl >/dev/null || return 1
    export RUNPOD_API_KEY="$key"
    runpodctl pod delete "$pod" || runpodctl remove pod "$pod"
}

by_curl || by_python || by_runpodctl
"""

# A container that starts again has the files of its first life, and may have lost its time: what the switch counts
# from its own start. So the deadline is looked at here too, by the clock, until a node is there that keeps it.
_BOOT = r"""#!/bin/sh
umask 022
cat >/run/skyward-end.sh <<'%%'
{ending}%%
rm -rf /run/skyward
cat >/run/skyward-switch.sh <<'%%%%'
{switch}%%%%
sh /run/skyward-switch.sh || {{
    while :; do
        {end}
        sleep 10
    done
}}
{watch}
[ ! -x /start.sh ] || exec /start.sh
mkdir -p /root/.ssh /run/sshd
printf '%s\n' "$PUBLIC_KEY" >>/root/.ssh/authorized_keys
chmod 700 /root/.ssh
chmod 600 /root/.ssh/authorized_keys
ssh-keygen -A
exec /usr/sbin/sshd -D -e
"""

_WATCH = r"""
while sleep 10 && [ ! -e /run/skyward/node/pid ]; do
    [ "$(date +%s)" -lt {deadline} ] || {end}
done </dev/null >/dev/null 2>&1 &
"""


def ending(endpoint: str) -> str:
    """The script that deletes the pod it runs on, by the interface at that address."""
    return _ENDING.replace("%ENDPOINT%", shlex.quote(endpoint))


def boot(switch: str, endpoint: str, deadline: float | None) -> str:
    """The value of the variable `SCRIPT`.

    Args:
        switch: what ``first_boot_script`` has made, with `END`.
        endpoint: address of RunPod's interface, without a slash at its end.
        deadline: seconds since the epoch; ``None`` for none.
    """
    watch = "" if deadline is None else _WATCH.format(deadline=math.ceil(deadline), end=END)
    text = _BOOT.format(ending=ending(endpoint), switch=switch, watch=watch, end=END)
    return base64.b64encode(text.encode()).decode()
