"""The shell text that gets uv onto a machine: POSIX sh, as all of ``bootstrap_shell``.

uv comes from its vendor, or as a wheel from a package index, by curl, GNU wget or python3: the first that can.
Addresses that may hold credentials go to programs by their standard input, never on a command line, where all users of
a machine could read them. busybox's wget is not used, since it does not verify certificates.
"""

from __future__ import annotations

__all__ = ["FETCHING", "UV"]

FETCHING = r"""
shown() { # an address without credentials
    case $1 in *://*@*) printf '%s\n' "$1" | sed 's|://[^/]*@|://|' ;; *) printf '%s\n' "$1" ;; esac
}
is_gnu_wget() { case "$(wget --version 2>/dev/null || true)" in *GNU*) ;; *) return 1 ;; esac }
fetches() { # program -> whether it is here, and verifies certificates
    command -v "$1" >/dev/null || return 1
    case $1 in
        wget) is_gnu_wget ;;
        python3) python3 -c 'import ssl, urllib.request, zipfile' 2>/dev/null ;;
    esac
}
can_fetch() { fetches curl || fetches wget || fetches python3; }
has_certificates() {
    for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
        if [ -r "$file" ]; then return 0; fi
    done
    return 1
}
fetch() { # address, file, attempts
    for program in curl wget python3; do
        fetches "$program" || continue
        command="$program $(shown "$1")"
        if "by_$program" "$@"; then command=''; return 0; fi
        echo "$command failed" >&2
    done
    return 1
}
by_curl() {
    printf 'url = "%s"\n' "$1" | curl --config - -fsSL --proto "=${1%%:*}" --connect-timeout 5 --speed-limit 1000 \
        --speed-time 30 --retry "$(($3 - 1))" -o "$2"
}
by_wget() { # which shows the address that it was given
    set -- "$1" -nv --connect-timeout=5 --read-timeout=30 "--tries=$3" -O "$2"
    [ -z "${SSL_CERT_FILE:-}" ] || set -- "$@" "--ca-certificate=$SSL_CERT_FILE"
    address=$1
    shift
    said=$(printf '%s\n' "$address" | wget "$@" -i - 2>&1) && return 0
    printf '%s\n' "$said" | sed 's|://[^/ ]*@|://|g' >&2
    return 1
}
by_python3() {
    printf '%s\n' "$1" | python3 -c '
import shutil, sys, time, urllib.request as web
from urllib.parse import unquote, urlsplit
parts = urlsplit(sys.stdin.readline().strip())
login, _, host = parts.netloc.rpartition("@")
address = parts._replace(netloc=host).geturl()
known = web.HTTPPasswordMgrWithDefaultRealm()
if login:
    user, _, word = login.partition(":")
    known.add_password(None, address, unquote(user), unquote(word))
ask = web.build_opener(web.HTTPBasicAuthHandler(known)).open
for left in reversed(range(int(sys.argv[2]))):
    try:
        with ask(address, timeout=10) as answer, open(sys.argv[1], "wb") as file:
            shutil.copyfileobj(answer, file)
        break
    except OSError as error:
        if not left or error.errno == 28:
            sys.exit(f"{address}: {error}")
        time.sleep(1)
' "$2" "$3"
}
unpack() { # wheel, folder
    for program in unzip python3 busybox bsdtar; do
        command -v "$program" >/dev/null || continue
        command="$program $1"
        case $program in
            unzip) unzip -q -o "$1" -d "$2" ;;
            busybox) busybox unzip -q -o "$1" -d "$2" ;;
            python3) python3 -m zipfile -e "$1" "$2" ;;
            bsdtar) mkdir -p "$2" && bsdtar -xf "$1" -C "$2" ;;
        esac && command='' && return 0
    done
    return 1
}
can_unpack() { command -v unzip || command -v bsdtar || python3 -c 'import zipfile' || busybox unzip --help; }
encoded() { printf '%s' "$1" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%'; }
index_address() { # [name=]address -> $index, with the credentials that stand in variables of that name
    index=$1
    case ${1%%://*} in *=*)
        index=${1#*=}
        key=$(printf '%s' "${1%%=*}" | tr '[:lower:]' '[:upper:]' | tr -c '[:upper:][:digit:]' _)
        eval "user=\${UV_INDEX_${key}_USERNAME:-} word=\${UV_INDEX_${key}_PASSWORD:-}"
        [ -z "$user$word" ] || index=${index%%://*}://$(encoded "$user"):$(encoded "$word")@${index#*://} ;;
    esac
    index=${index%/}
}
wheel_of() { # page -> version, digest and address of the newest uv for this machine; nothing where there is none
    libc=manylinux
    case "$(ldd --version 2>&1 || true)" in *musl*) libc=musllinux ;; esac
    release='\([0-9]*\)\.\([0-9]*\)\.\([0-9]*\)' kind="[^\"#]*${libc}[^\"#]*_$(uname -m)\.[^\"#]*"
    tr "<'" '\n"' <"$1" | sed -n -e '/data-yanked/d' \
        -e "s|^a .*href=\"\([^\"#]*uv-$release-py3-none-$kind\)#sha256=\([0-9a-f]*\)\".*|\2 \3 \4 \5 \1|p" |
        sort -k1,1n -k2,2n -k3,3n | tail -n 1
}
uv_of_index() { # [name=]address
    index_address "$1"
    scheme=${index%%://*} rest=${index#*://}
    origin=$scheme://${rest%%/*} host=${rest%%/*}
    host=${host##*@}
    rm -rf "$root/uv.new"
    mkdir "$root/uv.new" && fetch "$index/uv/" "$root/uv.new/page" 3 || return
    found=$(wheel_of "$root/uv.new/page" | sed 's/&amp;/\&/g')
    if [ -z "$found" ]; then
        echo "$(shown "$index") has no uv for $(uname -m) with a sha256" >&2
        return 1
    fi
    digest=$(echo "$found" | cut -d ' ' -f 4) address=$(echo "$found" | cut -d ' ' -f 5)
    case $address in
        "$scheme://$host/"*) address=$origin/${address#"$scheme://$host/"} ;; # with its credentials, if it has any
        *://*) ;;
        //*) address=$scheme:$address ;;
        /*) address=$origin$address ;;
        *) address=$index/uv/$address ;;
    esac
    address=$(printf '%s\n' "$address" | sed -e ':again' -e 's|/[^/][^/]*/\.\./|/|' -e 't again')
    wheel=$root/uv.new/uv.whl
    fetch "$address" "$wheel" 3 || return
    command="sha256sum $wheel"
    if [ "$(sha256sum <"$wheel" | cut -c 1-64)" != "$digest" ]; then
        echo "what came from $(shown "$address") is not what the index describes" >&2
        return 1
    fi
    can_unpack >/dev/null 2>&1 || apt_install unzip || return
    unpack "$wheel" "$root/uv.new/wheel" || return
    chmod 755 "$root"/uv.new/wheel/uv-*.data/scripts/uv &&
        run mv "$root"/uv.new/wheel/uv-*.data/scripts/uv "$root/bin/uv" && rm -rf "$root/uv.new"
}
uv_of_indexes() {
    # shellcheck disable=SC2086 # these are words
    for each in "${UV_DEFAULT_INDEX:-https://pypi.org/simple}" ${UV_INDEX:-} ${UV_EXTRA_INDEX_URL:-}; do
        case $each in *://*) ;; *) continue ;; esac # a folder
        if uv_of_index "$each"; then return 0; fi
    done
    return 1
}
uv_of_vendor() { # by a script of its own, which brings it along with curl or wget
    command -v curl >/dev/null || command -v wget >/dev/null || return 1
    fetch https://astral.sh/uv/install.sh "$root/uv-install.sh" 1 || return
    run env UV_INSTALL_DIR="$root/bin" UV_NO_MODIFY_PATH=1 timeout 120 sh "$root/uv-install.sh" 9>&-
}
"""

UV = r"""
usable() { # older ones do not know what is asked of it here
    hash -r # else the shell would go on with the one that it has found before
    case "$(uv --version 2>/dev/null || true)" in '' | 'uv 0.'[0-4].*) return 1 ;; esac
}
if ! usable; then
    if ! can_fetch; then
        apt_install curl ca-certificates unzip
    elif ! has_certificates && may_be_root && command -v apt-get >/dev/null; then
        apt_install ca-certificates || true
    fi
    { uv_of_vendor && usable; } || { uv_of_indexes && usable; } || fail "uv, which installs the packages, could not be \
had, neither from its vendor (astral.sh) nor from a package index; the lines above say why. Let this machine reach one \
of them, set UV_DEFAULT_INDEX or HTTPS_PROXY for the client where that takes a mirror or a proxy, or install uv on it"
fi
run uv --version
"""
