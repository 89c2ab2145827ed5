#!/bin/sh
# Prepares a machine for the tests that need containers: podman, and a base image for them. For .ci/run, as root on Debian
# or Ubuntu. Safe to run again.
#
#     sh scripts/ci-containers.sh            install what is missing, and make the image
#     sh scripts/ci-containers.sh --check    whether containers can be run and the image is there
#
# No registry is asked: the image is a stand-in for debian:trixie, made of Debian's own packages by debootstrap. Its
# files are kept below ${XDG_CACHE_HOME:-~/.cache}/skyward-ci, by the hash of how they are made. Another one stands in for
# ubuntu:24.04, where Ubuntu's archive can be reached; the tests on that are left out elsewhere.
set -eu

image=localhost/debian-trixie-standin
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
include=ca-certificates,python3,python3-venv,openssh-server
cache=${XDG_CACHE_HOME:-$HOME/.cache}/skyward-ci
recipe="debootstrap minbase $include trixie 1"

say() { printf 'containers: %s\n' "$*" >&2; }

works() {
    podman image exists "$image" 2>/dev/null &&
        [ "$(podman run --rm --network none "$image" sh -c 'echo works' 2>/dev/null)" = works ]
}

if [ "${1:-}" = --check ]; then works; exit; fi
ubuntu=localhost/ubuntu-noble-standin
if works && podman image exists "$ubuntu"; then exit 0; fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "this needs root and apt-get: install podman by hand, and run it again"
    exit 1
fi

missing=''
for pair in podman:podman runc:runc netavark:netavark aardvark-dns:aardvark-dns iptables:iptables debootstrap:debootstrap; do
    program=${pair%:*}
    if ! command -v "$program" >/dev/null && [ ! -x "/usr/lib/podman/$program" ]; then missing="$missing ${pair#*:}"; fi
done
if [ -n "$missing" ]; then
    say "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # these are words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

# A machine of a CI is often a container itself: without the right to raise limits, and with control groups of both
# versions, which crun refuses. A configuration that is there already is its owner's.
if [ ! -e /etc/containers/containers.conf ]; then
    say "writing /etc/containers/containers.conf"
    mkdir -p /etc/containers
    cat >/etc/containers/containers.conf <<'%%'
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=8192:8192"]
[engine]
runtime = "runc"
%%
fi

import() { # image, recipe, arguments of debootstrap before and behind the folder
    name=$(printf '%s' "$2" | sha256sum | cut -c 1-16)
    tarball=$cache/standin-$name.tar.gz
    if [ ! -e "$tarball" ]; then
        say "making $1, once (1 to 3 minutes)"
        mkdir -p "$cache"
        root=$(mktemp -d)
        trap 'rm -rf "$root" "$tarball.new"' EXIT
        # shellcheck disable=SC2086 # these are words
        debootstrap --variant=minbase $3 "$root" $4 >"$cache/debootstrap.log" 2>&1 || {
            tail -n 20 "$cache/debootstrap.log" >&2
            return 1
        }
        rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
        tar -C "$root" -c . | gzip -1 >"$tarball.new"
        mv "$tarball.new" "$tarball"
        rm -rf "$root"
    fi
    say "importing $tarball as $1"
    podman import "$tarball" "$1" >/dev/null
}

if ! podman image exists "$image"; then
    import "$image" "$recipe" "--include=$include trixie" "$mirror" || exit 1
fi
if ! podman image exists "$ubuntu"; then
    # Debian's debootstrap does not know Ubuntu's newer names, nor its keys: all its releases are made by one script.
    import "$ubuntu" "debootstrap minbase openssh-server noble 1" "--no-check-gpg --include=openssh-server noble" \
        "${UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu} gutsy" || say "going on without $ubuntu"
fi
works || {
    say "podman does not run a container of $image; it says:"
    podman run --rm --network none "$image" true >&2 || true
    exit 1
}
