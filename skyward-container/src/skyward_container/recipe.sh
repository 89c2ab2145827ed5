# Makes an image of a base: an SSH server, and what every node's environment begins with. Runs in a container of the
# base, as root, with /run/skyward holding "variables" (assignments), "bootstrap.sh", and perhaps "certificates.pem".
set -eu
folder=/run/skyward
set -a
# shellcheck source=/dev/null
. "$folder/variables"
set +a
rm "$folder/variables" # it may hold the credentials of a proxy or an index
export DEBIAN_FRONTEND=noninteractive

if ! command -v apt-get >/dev/null; then
    echo "this image has no apt-get: name one that is made from Debian or Ubuntu" >&2
    exit 1
fi
need=''
[ -x /usr/sbin/sshd ] || need="$need openssh-server"
[ -e /etc/ssl/certs/ca-certificates.crt ] || need="$need ca-certificates"
if [ -n "$need" ]; then
    apt-get -q update -o Acquire::Retries=3
    # Again, where an image has a package and not its files.
    # shellcheck disable=SC2086 # these are words
    apt-get -q install -y --reinstall --no-install-recommends -o Acquire::Retries=3 $need
    rm -rf /var/lib/apt/lists/*
fi
rm -f /etc/ssh/ssh_host_* # each node is given its own
mkdir -p /run/sshd
usermod -p '*' root # an account that is locked is not let in by key either

sh "$folder/bootstrap.sh"
