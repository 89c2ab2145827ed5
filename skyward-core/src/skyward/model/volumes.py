"""How volumes come to be directories of a node: a step of the bootstrap script, and the file of its secrets.

Pure: text in, text out. What mounts is a FUSE client: Mountpoint for Amazon S3 where the machine has it, else rclone
as Debian and Ubuntu package it. Both write a file to S3 when it is closed, and so from its beginning to its end.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from attrs import field, frozen

from skyward.model.bootstrap import Step
from skyward.model.volume import S3Volume

__all__ = ["SECRETS", "UNMOUNT", "Mount", "S3Credentials", "secrets_file", "step"]

SECRETS = "volumes.env"
"""The file of the credentials, below the root; for its owner alone."""
UNMOUNT = "volumes/unmount"
"""What takes all volumes away, below the root: run by the supervisor when it ends."""

_SEEN_AFTER = {"ro": "5m", "rw": "1s"}
"""For how long rclone keeps the list of a folder. Where nodes write for each other that must be short; a data set may
have so many files that listing them takes a minute."""


@frozen
class S3Credentials:
    """A key of S3. Those that are sent to machines should be short-lived, and have a ``token``."""

    key: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be hidden wherever it turns up."""
        return tuple(each for each in (self.secret, self.token) if each)


@frozen(kw_only=True)
class Mount:
    """A volume with what a machine needs to mount it.

    Attributes:
        volume: what, and where.
        credentials: by which; ``None`` for the role that the machine itself has at its cloud.
        region: of the bucket.
        endpoint: where S3 is, as a URL, for other services that speak its protocol; ``None`` for Amazon's own.
    """

    volume: S3Volume
    credentials: S3Credentials | None = None
    region: str = "us-east-1"
    endpoint: str | None = None


def secrets_file(mounts: Sequence[Mount]) -> bytes:
    """What stands in the file of the credentials: for each volume a shell function that sets them."""
    lines: list[str] = []
    for number, mount in enumerate(mounts):
        if (own := mount.credentials) is not None:
            values = {
                "AWS_ACCESS_KEY_ID": own.key,
                "AWS_SECRET_ACCESS_KEY": own.secret,
                **({"AWS_SESSION_TOKEN": own.token} if own.token else {}),
            }
            settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
            lines.append(f"credentials_{number}() {{ export {settings}; }}\n")
    return "".join(lines).encode()


def step(mounts: Sequence[Mount]) -> Step:
    """The part of the phase ``volumes`` that mounts. It holds no secret, and may be run again."""
    words = [
        shlex.join(
            (
                "mount_volume",
                str(number),
                mount.volume.mount_path,
                mount.volume.bucket,
                mount.volume.prefix,
                "ro" if mount.volume.read_only else "rw",
                mount.region,
                mount.endpoint or "",
                "role" if mount.credentials is None else "key",
            )
        )
        for number, mount in enumerate(mounts)
    ]
    body = "\n".join((_FUNCTIONS.strip("\n"), *words, 'rm -f "$secrets"'))
    return Step("volumes", re.sub(r"@(\w+)@", lambda found: _VALUES[found[1]], body))


_VALUES = {"read": _SEEN_AFTER["ro"], "write": _SEEN_AFTER["rw"], "secrets": SECRETS, "unmount": UNMOUNT}

# Mounting takes root, and what is mounted belongs to who has logged in. Root's own environment has the credentials:
# no other user can read it, nor is it on a command line. rclone lists a missing bucket as an empty one, so it is asked
# before: about a folder that is not there, since a listing has no end where there are millions of files. Without a
# cache of its own it says of a file at its close whether it is in S3; with one, close() would return before that.
_FUNCTIONS = r"""
needs_root 'mounting volumes'
secrets=$root/@secrets@ unmount=$root/@unmount@ serve=$root/volumes/serve
[ ! -e "$unmount" ] || run sh "$unmount" keep
[ -e /dev/fuse ] || as_root modprobe fuse >/dev/null 2>&1 || true
command='open /dev/fuse'
[ -e /dev/fuse ] || fail "there is no /dev/fuse on this machine, through which volumes are mounted: load the kernel's \
module fuse, or leave volume=... out"
command=''
if command -v mount-s3 >/dev/null; then mounter=mount-s3; else
    mounter=rclone
    { command -v rclone && command -v fusermount3; } >/dev/null || apt_install rclone fuse3
fi
cat >"$unmount" <<'%%'
#!/bin/sh
# Takes the volumes away, and what has served them; with "keep", all but the credentials for the next ones.
folder=${0%/*}
[ "$(id -u)" = 0 ] || exec sudo -n sh "$0" "$@"
while IFS= read -r path; do
    umount "$path" 2>/dev/null || umount -l "$path" 2>/dev/null
done <"$folder/mounted"
rm -f "$folder/mounted"
[ "${1:-}" = keep ] || rm -f "${folder%/*}/@secrets@"
exit 0
%%
cat >"$serve" <<'%%'
set -eu
unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
NO_PROXY=${NO_PROXY:-${no_proxy:-}},169.254.169.254 # where a role's credentials are
export NO_PROXY no_proxy="$NO_PROXY" AWS_REGION="$region" HOME=/root
if [ "$by" = key ]; then . "$secrets"; "credentials_$number"; fi
umask 022
if [ "$mounter" = mount-s3 ]; then
    set -- --allow-other --uid "$user" --gid "$group" --file-mode 0644 --dir-mode 0755 --region "$region"
    if [ "$mode" = ro ]; then set -- "$@" --read-only; else
        set -- "$@" --allow-delete
        case $(mount-s3 --help) in *--allow-overwrite*) set -- "$@" --allow-overwrite ;; esac
    fi
    [ -z "$prefix" ] || set -- "$@" --prefix "$prefix"
    [ -z "$endpoint" ] || set -- "$@" --endpoint-url "$endpoint" --force-path-style
    exec mount-s3 "$bucket" "$path" "$@"
fi
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_S3_TYPE=s3 RCLONE_CONFIG_S3_ENV_AUTH=true
export RCLONE_CONFIG_S3_REGION="$region" RCLONE_CONFIG_S3_NO_CHECK_BUCKET=true RCLONE_CONFIG_S3_CHUNK_SIZE=16M
if [ -z "$endpoint" ]; then export RCLONE_CONFIG_S3_PROVIDER=AWS; else
    export RCLONE_CONFIG_S3_PROVIDER=Other RCLONE_CONFIG_S3_ENDPOINT="$endpoint"
fi
if ! said=$(rclone lsf --retries 1 --low-level-retries 3 --contimeout 10s "s3:$bucket/$prefix.skyward-none/" 2>&1); then
    printf '%s\n' "$said"
    case $said in *"directory not found"*) echo NoSuchBucket ;; esac
    exit 1
fi
if [ "$mode" = rw ]; then set -- --dir-cache-time @write@; else set -- --dir-cache-time @read@ --read-only; fi
exec rclone mount "s3:$bucket/$prefix" "$path" --daemon --daemon-wait 30s --log-file "$log" --log-level NOTICE \
    --allow-other --uid "$user" --gid "$group" --umask 0022 --use-server-modtime --vfs-cache-mode off "$@"
%%
mount_volume() {
    number=$1 path=$2 bucket=$3 prefix=$4 mode=$5 region=$6 endpoint=$7 by=$8
    what="s3://$bucket/$prefix" log=$root/volumes/$1.log user=$(id -u) group=$(id -g)
    allowed="s3:ListBucket on the bucket and s3:GetObject on its objects"
    [ "$mode" = ro ] || allowed="$allowed, and s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload"
    if [ "$by" = role ]; then who="the machine's own role"; else who="the credentials of the client"; fi
    export number path bucket prefix mode region endpoint by user group log secrets mounter
    as_root mkdir -p "$path"
    command="mount $what at $path"
    [ -z "$(ls -A "$path")" ] || fail "$path is not empty on this machine, and $what would hide what is there: \
choose another mount_path"
    printf '%s\n' "$path" >>"$root/volumes/mounted"
    if is_root; then as=''; else as='sudo -n -E'; fi
    # What goes on in the background has neither the lock nor this output.
    if ! $as sh "$serve" </dev/null >"$log" 2>&1 9>&-; then
        said=$(cat "$log")
        printf '%s\n' "$said"
        case $said in
            *NoSuchBucket* | *"bucket does not exist"*)
                fail "there is no bucket $bucket${endpoint:+ at $endpoint}: check the name in S3Volume" ;;
            *AccessDenied* | *Forbidden* | *"status code: 403"* | *"Access Denied"*)
                fail "$who may not read $what: allow $allowed" ;;
            *NoCredentialProviders* | *"No signing credentials"*)
                fail "this machine has no credentials for $what: give it a role that may read the bucket" ;;
        esac
        fail "$what cannot be mounted"
    fi
    [ "$mode" = ro ] || try_to_write
    command=''
}
try_to_write() { # so that a checkpoint does not fail after hours
    probe=$path/.skyward-$(uname -n)-$$
    # cat, unlike a shell, says what its file's close has said
    if said=$({ echo probe | cat >"$probe"; } 2>&1); then rm -f "$probe" || true; return 0; fi
    printf '%s\n' "$said"
    cat "$log" 2>/dev/null || true
    fail "$who may not write to $what: allow $allowed, or mount it with read_only=True"
}
"""
