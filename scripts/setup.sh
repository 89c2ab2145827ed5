#!/bin/sh
# Prepares the project's virtual environment, with nothing but a POSIX shell and a Python that has pip.
#
#     sh scripts/setup.sh [--python X.Y] [--venv DIR] [options of "uv sync"]
#     sh scripts/setup.sh --print-uv                     the uv to use; installed first if need be
#     sh scripts/setup.sh --print-python [--python X.Y]  the Python to use; nothing if there is none
#
# uv comes from PATH, else from the package index into .tools/uv. Python (3.12 or newer) comes from PATH, else from
# pyenv, else uv downloads one into .tools/python. Nothing is written outside this folder except uv's cache.
# pip's settings (PIP_INDEX_URL, PIP_CERT, pip.conf, ...) and SSL_CERT_FILE hold for every download.

set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
oldest_python=12     # the minor version: Python 3.12
oldest_uv=0.8        # the first with everything that pyproject.toml and uv.lock need

say() { printf '%s\n' "$*" >&2; }

stop() {
    say ""
    say "setup: $1"
    shift
    for line in "$@"; do say "    $line"; done
    exit 1
}

# ---- options --------------------------------------------------------------------------------------------------------

minor=''
venv=.venv
show=''
while [ $# -gt 0 ]; do
    case $1 in
        --python) minor=${2#3.}; shift 2 ;;
        --venv) venv=$2; shift 2 ;;
        --print-uv) show=uv; shift ;;
        --print-python) show=python; shift ;;
        *) break ;;
    esac
done
case $minor in *[!0-9]*) stop "--python takes a minor version such as 3.12" ;; esac
case $venv in /*) ;; *) venv=$root/$venv ;; esac

# ---- surroundings that would lead astray ----------------------------------------------------------------------------

unset VIRTUAL_ENV PYTHONHOME PYTHONPATH
# pip refuses --target beside either of these, and needs no virtual environment for it.
unset PIP_USER PIP_PREFIX
PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_USER PIP_REQUIRE_VIRTUALENV PIP_DISABLE_PIP_VERSION_CHECK

# One certificate file serves both: old versions of pip know only the first variable, uv only the second.
if [ -n "${SSL_CERT_FILE:-}" ] && [ -z "${PIP_CERT:-}${REQUESTS_CA_BUNDLE:-}" ]; then
    PIP_CERT=$SSL_CERT_FILE && export PIP_CERT
elif [ -z "${SSL_CERT_FILE:-}" ] && [ -n "${PIP_CERT:-}" ]; then
    SSL_CERT_FILE=$PIP_CERT && export SSL_CERT_FILE
fi

# A user without a home directory of his own (in a container, say) still gets a cache.
if [ -z "${UV_CACHE_DIR:-}${XDG_CACHE_HOME:-}" ] && ! { [ -n "${HOME:-}" ] && [ -w "${HOME:-}" ]; }; then
    UV_CACHE_DIR=$root/.cache/uv && export UV_CACHE_DIR
fi

# ---- Python ---------------------------------------------------------------------------------------------------------

# Prints the real interpreter behind $1 if it runs and is one of ours. Running it is the only honest test: the shims
# of pyenv stand on PATH for versions that are not active, and fail. A virtual environment is followed to its base.
accept() {
    "$1" -c '
import ctypes, ssl, sys, sysconfig, zlib
oldest, exact = int(sys.argv[1]), sys.argv[2]
new_enough = sys.version_info[:2] >= (3, oldest) and not (exact and sys.version_info[1] != int(exact))
usual = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
if not (new_enough and usual):
    sys.exit(1)
print(getattr(sys, "_base_executable", "") or sys.executable)
' "$oldest_python" "$minor" 2>/dev/null </dev/null
}

# The minor version that the project is developed on goes first, then the newest.
preferred=$(sed -n '1s/^3\.\([0-9]*\).*/\1/p' "$root/.python-version" 2>/dev/null || true)
preferred=${preferred:-13}

# The interpreters in pyenv's folder of the minor versions $@, in that order, active or not.
pyenv_pythons() {
    for home in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        [ -d "$home/versions" ] || continue
        for number in "$@"; do
            for bin in "$home"/versions/3."$number"[.-]*/bin/python; do
                [ -x "$bin" ] && printf '%s\n' "$bin"
            done
        done
        return 0
    done
}

find_python() {
    for name in "python3.$preferred" python3.14 python3.13 python3.12 python3 python; do
        if command -v "$name" >/dev/null 2>&1 && accept "$name"; then return 0; fi
    done
    pyenv_pythons "$preferred" 15 14 13 12 | while IFS= read -r bin; do
        if accept "$bin"; then break; fi
    done
}

# One line about the Python that a newcomer would think of, when it did not do.
too_old() {
    for name in python3 python; do
        version=$("$name" --version 2>/dev/null </dev/null) && printf '(%s on PATH is %s.)\n' "$name" "$version" && return
    done
    printf '(PATH has no python3.)\n'
}

# ---- uv -------------------------------------------------------------------------------------------------------------

# Whether $1 runs and is not older than $oldest_uv.
uv_works() {
    "$1" --version 2>/dev/null </dev/null | awk -v oldest="$oldest_uv" '
        { split($2, have, "."); split(oldest, want, "."); found = 1
          exit !(have[1] > want[1] || (have[1] == want[1] && have[2] + 0 >= want[2] + 0)) }
        END { if (!found) exit 1 }'
}

# Any Python 3 with pip can install uv: its wheel holds one program and no Python code.
pip_pythons() {
    for name in python3 python py python3.14 python3.13 python3.12 python3.11; do
        command -v "$name" 2>/dev/null || true
    done
    pyenv_pythons 14 13 12 11 10 9 8
}

install_uv() {
    say "setup: installing uv from the package index into .tools/uv"
    mkdir -p "$root/.tools"
    log=$root/.tools/uv-install.log
    : >"$log"
    pip_pythons | while IFS= read -r python; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 </dev/null || continue
        printf '%s\n' "--- $python -m pip install" >>"$log"
        if "$python" -m pip install --quiet --upgrade --no-cache-dir --target "$root/.tools/uv" "uv>=$oldest_uv" >>"$log" 2>&1 </dev/null
        then break; fi
    done
    uv_works "$root/.tools/uv/bin/uv"
}

find_uv() {
    if command -v uv >/dev/null 2>&1 && uv_works uv; then command -v uv; return; fi
    own=$root/.tools/uv/bin/uv
    if ! uv_works "$own" && ! install_uv; then
        say ""
        [ -s "$root/.tools/uv-install.log" ] && tail -n 12 "$root/.tools/uv-install.log" >&2
        stop "there is no uv $oldest_uv or newer on PATH, and it could not be installed from the package index." \
            "Do one of these, then run the command again:" \
            "- install a Python 3 with pip (Debian, Ubuntu: apt install python3-pip), or put it on PATH;" \
            "- install uv yourself: https://docs.astral.sh/uv/getting-started/installation/" \
            "If pip was there but could not reach the index (its words stand above):" \
            "- behind a proxy that re-signs TLS, set SSL_CERT_FILE to the certificate file of your network;" \
            "- with an index of your own, set PIP_INDEX_URL, or index-url in pip.conf."
    fi
    printf '%s\n' "$own"
}

# ---- the environment ------------------------------------------------------------------------------------------------

if [ "$show" = python ]; then find_python; exit; fi

uv=$(find_uv)
if [ "$show" = uv ]; then printf '%s\n' "$uv"; exit; fi

# An environment that is there and fits is kept, whichever Python it was made with.
python=''
if [ -x "$venv/bin/python" ] && accept "$venv/bin/python" >/dev/null; then
    python=$venv/bin/python
else
    python=$(find_python)
    if [ -z "$python" ]; then
        wanted=${minor:-$preferred}
        python=$("$uv" python find --no-project --no-python-downloads "3.$wanted" 2>/dev/null || true)
    fi
    if [ -z "$python" ]; then
        say "setup: no Python 3.$wanted here, uv downloads one into .tools/python"
        UV_PYTHON_INSTALL_DIR=$root/.tools/python && export UV_PYTHON_INSTALL_DIR
        "$uv" python install --no-bin "3.$wanted" >&2 && python=$("$uv" python find --no-project "3.$wanted") || stop \
            "there is no Python 3.${minor:-$oldest_python or newer} on PATH or in pyenv, and uv could not download one." \
            "$(too_old)" \
            "Do one of these, then run the command again:" \
            "- install it with your system's package manager, or from https://www.python.org/downloads/;" \
            "- pyenv install 3.$wanted" \
            "- let uv reach https://github.com, or set UV_PYTHON_INSTALL_MIRROR to a mirror of its downloads."
    fi
    say "setup: making ${venv#"$root"/} with $python"
fi

UV_PROJECT_ENVIRONMENT=$venv && export UV_PROJECT_ENVIRONMENT
cd "$root"
if "$uv" sync --quiet --frozen --all-packages --python "$python" "$@"; then exit 0; fi

# uv.lock names the files of PyPI. Where only another index can be reached, the same versions come from that one.
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}}
for name in python3 python py; do
    [ -n "$index" ] || index=$("$name" -m pip config get global.index-url 2>/dev/null </dev/null || true)
done
if [ -n "$index" ]; then
    say "setup: trying the index that pip is set to"
    UV_DEFAULT_INDEX=$index && export UV_DEFAULT_INDEX
    pins=$root/.tools/requirements.txt
    mkdir -p "$root/.tools"
    if { [ -x "$venv/bin/python" ] || "$uv" venv --quiet --python "$python" "$venv"; } &&
        "$uv" export --quiet --frozen --all-packages --no-emit-workspace --output-file "$pins" "$@" &&
        "$uv" pip sync --quiet --python "$venv/bin/python" --require-hashes "$pins"
    then
        for project in "$root"/skyward-*/pyproject.toml "$root/pyproject.toml"; do
            "$uv" pip install --quiet --no-deps --python "$venv/bin/python" --editable "$(dirname -- "$project")" || exit 1
        done
        exit 0
    fi
fi
stop "uv could not install the locked packages (its words stand above)." \
    "If the package index cannot be reached:" \
    "- behind a proxy that re-signs TLS, set SSL_CERT_FILE to the certificate file of your network;" \
    "- with an index of your own, set UV_DEFAULT_INDEX or PIP_INDEX_URL." \
    "If $venv itself is broken, remove it and run the command again."
