"""The shell text that ``bootstrap`` puts together: what its phases call, and the bodies of the phases.

All of it is POSIX sh that runs under ``set -eu``. Time is told by ``/proc/uptime``, since a new machine's clock may be
anywhere. How a machine without uv gets it stands in ``bootstrap_uv``.
"""

from __future__ import annotations

__all__ = ["APT", "APT_AHEAD", "DEPS", "HEAD", "LOCK", "SERVER", "SKYWARD", "TTL", "VOLUMES", "VOLUMES_GONE"]

# Descriptor 9 is the lock. A service that apt starts must not keep it.
HEAD = r"""#!/bin/sh
# Makes this machine a node of Skyward. Safe to run again: a phase whose marker holds its hash is kept as it is.
set -eu
umask 022
name=start command='' status=0 updated=''

say() { printf '::skyward:: %s %s %s\n' "$name" "$1" "${2:-}"; }
trap 'status=$?; [ "$status" = 0 ] || { say clock "$(date +%s)"; say failed "$command"; }' EXIT

root=${SKYWARD_ROOT:-/opt/skyward}
payload=${SKYWARD_PAYLOAD:-$root/payload}
command="mkdir -p $root/bin $root/markers"
mkdir -p "$root/bin" "$root/markers"
command=''
export PATH="$root/bin:$PATH:${HOME:-/root}/.local/bin" DEBIAN_FRONTEND=noninteractive UV_NO_PROGRESS=1
export UV_CACHE_DIR="$root/cache" UV_PYTHON_INSTALL_DIR="$root/python" UV_PYTHON_INSTALL_BIN=0
export UV_HTTP_CONNECT_TIMEOUT="${UV_HTTP_CONNECT_TIMEOUT:-5}"

# What one program is told of proxies, certificates and indexes, the others are told too.
for pair in http_proxy:HTTP_PROXY https_proxy:HTTPS_PROXY all_proxy:ALL_PROXY no_proxy:NO_PROXY \
    UV_DEFAULT_INDEX:UV_INDEX_URL UV_DEFAULT_INDEX:PIP_INDEX_URL UV_EXTRA_INDEX_URL:PIP_EXTRA_INDEX_URL; do
    eval "known=\${${pair%:*}:-} other=\${${pair#*:}:-}"
    # shellcheck disable=SC2154 # the line above sets them
    if [ -z "$known" ] && [ -n "$other" ]; then export "${pair%:*}=$other"; fi
done
for each in SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE PIP_CERT; do
    eval "known=\${$each:-}"
    if [ -n "$known" ] && [ ! -r "$known" ]; then
        echo "there is no $known on this machine, which $each names: its own certificates are used" >&2
        unset "$each"
    fi
done

run() { command="$*"; "$@" || return; command=''; }
fail() { echo "$1" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
may_be_root() { is_root || sudo -n true 2>/dev/null 9>&-; }
as_root() { if is_root; then run "$@"; else run sudo -n -E "$@"; fi; }
needs_root() { # what for
    may_be_root || fail "$1 takes root, and $(id -un) may not use sudo without a password: log in as root, \
or allow it on the machine (a line '$(id -un) ALL=(ALL) NOPASSWD:ALL' in a file in /etc/sudoers.d)"
}
one_apt_get() {
    export LC_ALL=C NEEDRESTART_SUSPEND=1
    [ -z "${SSL_CERT_FILE:-}" ] || set -- -o "Acquire::https::CAInfo=$SSL_CERT_FILE" "$@"
    set -- -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o APT::Update::Error-Mode=any "$@"
    set -- -o DPkg::Options::=--force-confdef -o DPkg::Options::=--force-confold -o DPkg::Use-Pty=0 "$@"
    as_root apt-get -q -y "$@" 9>&-
}
apt_get() { # apt-get, which waits while another one is at work, and is tried again where that may help
    tries=0 told=''
    uptime
    limit=$((now + 300))
    while :; do
        command="apt-get $*"
        { said=$(one_apt_get "$@" 2>&1 >&3 3>&-); } 3>&1 && break
        failed=$?
        case $said in
            *"E: Could not get lock"* | *"E: Unable to lock"* | *"E: Unable to acquire"*)
                [ -n "$told" ] || printf '%s\n' "$said" 'waiting for that' >&2
                told=1
                uptime
                [ "$now" -lt "$limit" ] || return "$failed"
                sleep 2
                continue
                ;;
        esac
        printf '%s\n' "$said" >&2
        tries=$((tries + 1))
        case $said in
            *"Unable to locate package"* | *"no installation candidate"* | *"was not found"*) return "$failed" ;;
            *"No space left"* | *"enough free space"*) return "$failed" ;;
        esac
        [ "$tries" -lt 3 ] || return "$failed"
        case $said in
            *"dpkg --configure -a"* | *fix-broken*) # one that was cut off left this
                as_root dpkg --force-confdef --force-confold --configure -a 9>&- || true
                one_apt_get --fix-broken install || true
                ;;
            *"run apt-get update"*) one_apt_get update || true ;; # the lists are older than the mirror
        esac
        sleep "$tries"
    done
    [ -z "$said" ] || printf '%s\n' "$said" >&2
    command=''
}
apt_install() { # packages
    command="apt-get install $*"
    command -v apt-get >/dev/null || fail "there is no apt-get on this machine, which is not Debian or Ubuntu: \
install $* on it, or name another one"
    needs_root "installing $* (apt)"
    # Lists that cannot be had whole may do all the same: a source that these packages do not need may be gone.
    [ -n "$updated" ] || apt_get update || echo 'apt-get update failed: going on with the lists that are there' >&2
    updated=1
    apt_get install --no-install-recommends "$@"
}
uptime() { { read -r now _ </proc/uptime; } 2>/dev/null || now=0; now=${now%.*}; }
held() { { read -r was <"$root/markers/$1"; } 2>/dev/null && [ "$was" = "$2" ]; }
begin() { # name, hash, the later phases -> whether there is something to do
    name=$1 hash=$2
    uptime
    begun=$now
    shift 2
    if held "$name" "$hash"; then say kept; return 1; fi
    for stale in "$name" "$@"; do # what is built on it falls with it
        if [ -e "$root/markers/$stale" ]; then rm "$root/markers/$stale"; fi
    done
    say started
}
finish() {
    command="write $root/markers/$name"
    printf '%s\n' "$hash" | cat >"$root/markers/$name.new" # cat, unlike a shell, says what went wrong
    mv "$root/markers/$name.new" "$root/markers/$name"
    command=''
    uptime
    say completed $((now - begun))
}
"""

# Nobody sets the number of a machine's start either. A snapshot of a machine does not carry its old deadline along.
TTL = r"""
# The machine ends itself, whatever becomes of the rest. A second run does not move the deadline.
needs_root 'ending this machine at its time'
if is_root; then armed=/run/skyward; else armed=$root/run; fi
ttl={ttl} armed=${{SKYWARD_RUN:-$armed}}/ttl boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown)
mkdir -p "${{armed%/*}}"
case "$(cat "$armed" 2>/dev/null)" in "$boot "*) ;; *)
    setsid sh -c "sleep $ttl; shutdown -h now || sudo -n shutdown -h now || poweroff -f" \
        </dev/null >/dev/null 2>&1 &
    uptime
    echo "$boot $((now + ttl))" >"$armed" ;;
esac
"""

# Two runs side by side (a connection that dropped, and the next one) take turns.
LOCK = r"""
command="open $root/lock"
exec 9>"$root/lock"
command=''
if command -v flock >/dev/null && ! flock -n 9; then
    echo 'another run of this script is at work here: waiting for its end'
    flock 9
fi
"""

# What is missing for later phases is told before the first one takes its time.
APT_AHEAD = r"""
if ! held apt '{digest}'; then
    name=apt
    command -v apt-get >/dev/null || fail 'there is no apt-get on this machine, which is not Debian or Ubuntu: \
leave apt out of the image, or name another machine'
    needs_root "installing the image's packages (apt)"
    name=start
fi
"""

APT = r"""
apt_install {packages}
"""

DEPS = r"""
command="write $root/requirements.txt"
cat >"$root/requirements.txt" <<'%%'
{requirements}
%%
{index}python={python}
if ! uv python find "$python" >/dev/null 2>&1; then
    if ! run uv python install "$python"; then
        minor=$(echo "$python" | cut -d . -f 1,2)
        if command -v apt-get >/dev/null && may_be_root; then apt_install "python$minor" || true; fi
        uv python find "$python" >/dev/null 2>&1 || fail "there is no Python $python on this machine, it could not be \
downloaded, and the system has no package of it; the lines above say why. Install it on the machine, let the machine \
reach github.com or a mirror (UV_PYTHON_INSTALL_MIRROR of the client), or use client and image of a version that it has"
    fi
fi
rm -rf "$root/venv"
run uv venv --quiet --python "$python" "$root/venv"
run uv pip install --python "$root/venv/bin/python" --requirement "$root/requirements.txt"
"""

SKYWARD = r"""
[ -e "$archive" ] || fail "$archive is missing: the client puts it there before it runs this script"
rm -rf "$payload.new"
run mkdir "$payload.new"
run tar -xzf "$archive" -C "$payload.new"
rm -rf "$payload"
run mv "$payload.new" "$payload"
"""

# The client's skyward stands first on the path; what it needs stands last, so that the image's own versions win.
# Whether a worker starts is seen when it is started, behind the script: another start of Python would take longer than
# the rest.
SERVER = r"""
site=''
for each in "$root"/venv/lib/python*/site-packages; do [ ! -d "$each" ] || site=$each; done
[ -n "$site" ] || site=$("$root/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
command="write $site/skyward.pth and $root/bin/skyward-node"
printf '%s\n' "$payload/back" | cat >"$site/skyward.pth"
cat >"$root/bin/skyward-node.new" <<%%
#!/bin/sh
export PYTHONPATH="$payload/front\${{PYTHONPATH:+:\$PYTHONPATH}}"
exec "$root/venv/bin/python" -P -m {module} "\$@"
%%
chmod 755 "$root/bin/skyward-node.new"
mv "$root/bin/skyward-node.new" "$root/bin/skyward-node"
"""

VOLUMES = r"""
[ -d "$root/volumes" ] || run mkdir "$root/volumes"
"""

VOLUMES_GONE = r"""
if [ -e "$root/volumes/mounted" ]; then
    while IFS= read -r each; do
        mountpoint -q "$each" || rm -f "$root/markers/volumes"
    done <"$root/volumes/mounted"
fi
"""
