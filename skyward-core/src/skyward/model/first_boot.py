"""The dead man's switch of a rented machine, as shell text for its first boot. Pure: numbers in, text out.

A provider hands the text to its machines as what they run at their boot, so it holds before anything is installed and
needs nothing but ``/bin/sh``: no client, no Python, no package. It keeps two limits, both in seconds of
``/proc/uptime``, which nobody sets:

- a *lifetime* since the boot;
- a *lease*: without a word from the client for so long, the machine is nobody's. While the machine is made ready, each
  connection of `SshTransport` says a word every few seconds, into the file `WORD`. Whoever else connects to the SSH
  server, as strangers on the internet do all the time, does not renew it.

As soon as the supervisor runs, which has its process's number in ``pid`` in the node's folder, it keeps lease and
deadline itself, and the client can move them. When it has ended, so has the machine; while it is stopped by a signal,
or where it was killed before it was ever seen, the limits of the boot hold.
"""

from __future__ import annotations

import math
import shlex

from skyward.errors import ConfigurationError

__all__ = ["NODE_FOLDER", "WORD", "first_boot_script"]

NODE_FOLDER = "/run/skyward/node"
"""The node's folder on a machine with this switch: what `SshTransport` is to be given as ``folder``."""
WORD = "/run/skyward/word"
"""The file that a client's word goes to: the machine's uptime at that moment, in whole seconds."""

# Ends by itself when the machine does, and otherwise never: what ends the machine is tried again until it has.
_SWITCH = r"""#!/bin/sh
# $1 seconds to live, $2 seconds without a word; empty for no limit. $3 whom the client logs in as. $4 what ends the
# machine.
run=/run/skyward
uptime() { read -r now _ </proc/uptime && now=${now%.*}; }

alive() { # process number -> whether it does something
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    case $stat in *") Z "* | *") X "*) return 1 ;; esac
}

finish() {
    while :; do
        sh -c "$1"
        sleep 10
    done
}

uptime
heard=$now last=$now supervisor='' ended=0 owned=''
end=${1:+$((now + $1))}
while sleep 1; do
    uptime
    # The machine was paused: its client had no chance to say a word.
    [ $((now - last)) -lt 5 ] || heard=$((heard + now - last))
    last=$now

    # Whom the client logs in as may not be there yet at the first boot.
    [ -n "$owned" ] || { chown "$3" $run $run/word 2>/dev/null && owned=yes; }

    { read -r word <$run/word; } 2>/dev/null || word=''
    case $word in '' | *[!0-9]*) word=0 ;; esac
    if [ "$word" -gt "$heard" ] && [ "$word" -le "$now" ]; then heard=$word; fi

    { read -r pid <$run/node/pid; } 2>/dev/null && supervisor=$pid
    if [ -n "$supervisor" ]; then
        if ! alive "$supervisor"; then
            ended=$((ended + 1)) # its client may still ask for its last words
            if [ "$ended" -ge 5 ]; then finish "$4"; fi
            continue
        fi
        ended=0
        case $stat in *") T "* | *") t "*) ;; *) heard=$now && continue ;; esac
    fi
    if [ -n "$end" ] && [ "$now" -ge "$end" ]; then finish "$4"; fi
    if [ -n "$2" ] && [ $((now - heard)) -ge "$2" ]; then finish "$4"; fi
done
"""

_BOOT = r"""#!/bin/sh
# Skyward: this machine ends itself at its time, or when its client is gone. Safe to run at each boot, and again.
set -eu
umask 022
run=/run/skyward
mkdir -p $run
{{ read -r pid <$run/switch.pid; }} 2>/dev/null || pid=''
if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then
    : >$run/word
    cat >$run/switch.sh <<'%%'
{switch}%%
    setsid sh $run/switch.sh {arguments} </dev/null >/dev/null 2>&1 &
    echo $! >$run/switch.pid
fi
"""

_SHUTDOWN = "shutdown -h now || poweroff -f || echo o >/proc/sysrq-trigger"


def first_boot_script(
    *,
    lifetime: float | None,
    lease: float | None,
    user: str = "root",
    end: str = _SHUTDOWN,
) -> str:
    """The text that arms a machine's deadline and lease. It is run as root, and returns at once.

    Run it at every boot where the vendor has a way to (cloud-init: a line ``#cloud-boothook`` before the first one): a
    machine that boots again has lost its node, and ends when the lease does. `SshTransport` is to be given
    ``folder=NODE_FOLDER``.

    Args:
        lifetime: seconds from the boot to the deadline; ``None`` for no deadline.
        lease: seconds without a word from the client after which the machine ends itself; ``None`` for no lease. The
            time from its boot to the client's first connection counts.
        user: whom the client logs in as, to whom the folder around the node's belongs.
        end: shell text that ends the machine in the way that its vendor bills as ended. It is repeated every ten
            seconds. It can be read by whoever is on the machine: no secret belongs in it.

    Raises:
        ConfigurationError: a limit is not positive.
    """
    for name, seconds in (("lifetime", lifetime), ("lease", lease)):
        if seconds is not None and seconds <= 0:
            raise ConfigurationError(f"{name}={seconds} is in the past: give seconds from now, or None for no limit")
    limits = ("" if seconds is None else str(math.ceil(seconds)) for seconds in (lifetime, lease))
    return _BOOT.format(
        switch=_SWITCH,
        arguments=shlex.join((*limits, user, end)),
    )
