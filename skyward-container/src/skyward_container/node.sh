# The first process of a node: its dead man's switch, which needs neither a client nor anything installed, and what
# starts its SSH server and keeps it running. The container ends with this process, and its engine removes it.
#
#     $1  seconds to live; empty for no limit
#     $2  seconds without a client after which it ends; empty for no limit
#     $3  the client's public key
#     $4  the container's name
#
# The server's key is made here and never leaves. Its public half, or what is the matter, is said in the container's log,
# where only whoever commands the engine can have it from, and that nobody else can have written.
#
# Until the supervisor is there, a connection to the SSH server is the client's word. The supervisor keeps the lease
# and the deadline itself, so that the client can move them; when it has ended, so has the node. A supervisor that was
# stopped by a signal keeps nothing, and the limits from here hold again, with the deadline as it was moved last.
#
# Time is the time since the machine's start, which nobody sets.
run=/run/skyward
trap 'exit 0' TERM INT

uptime() { read -r now _ </proc/uptime && now=${now%.*}; }

connected() {
    for table in /proc/net/tcp /proc/net/tcp6; do
        [ -r "$table" ] || continue
        while read -r _ local _ state _; do
            case "$local $state" in *:0016\ 01) return 0 ;; esac
        done <"$table"
    done
    return 1
}

alive() { # process number -> whether it does something
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    case $stat in *") Z "* | *") X "*) return 1 ;; esac
}

serve() { # the client's public key
    umask 077
    printf '%s\n' "$1" >$run/authorized_keys
    cat >$run/sshd_config <<%%
Port 22
HostKey $run/host_key
AuthorizedKeysFile $run/authorized_keys
PidFile $run/sshd.pid
AllowUsers root
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
AllowStreamLocalForwarding yes
LoginGraceTime 20
MaxStartups 100
ClientAliveInterval 5
ClientAliveCountMax 3
%%
    [ -d /run/sshd ] || mkdir -p /run/sshd
    ssh-keygen -q -t ed25519 -N '' -C '' -f $run/host_key && /usr/sbin/sshd -f $run/sshd_config
}

uptime
heard=$now last=$now supervisor='' ended=0
end=${1:+$((now + $1))}

if words=$(serve "$3" 2>&1); then
    read -r key <$run/host_key.pub
    printf '::node:: %s key %s\n' "$4" "$key"
else
    printf '::node:: %s failed %s\n' "$4" "$(printf %s "$words" | tr '\n' ' ')"
fi

while sleep 1; do
    uptime
    # The machine slept, or the container was paused: its client had no chance to say a word.
    [ $((now - last)) -lt 5 ] || heard=$((heard + now - last))
    last=$now

    { read -r server <$run/sshd.pid; } 2>/dev/null || server=''
    if [ -n "$server" ] && ! alive "$server"; then /usr/sbin/sshd -f $run/sshd_config; fi

    { read -r pid <$run/node/pid; } 2>/dev/null && supervisor=$pid
    if [ -n "$supervisor" ]; then
        if ! alive "$supervisor"; then
            # A client may still ask why; one that is not there does not.
            ended=$((ended + 1))
            if [ "$ended" -ge 5 ] || ! connected; then exit 0; fi
            continue
        fi
        ended=0
        case $stat in *") T "* | *") t "*) ;; *) heard=$now && continue ;; esac
    elif connected; then
        heard=$now
    fi
    { read -r moved _ <$run/deadline; } 2>/dev/null && end=$moved
    if [ -n "$end" ] && [ "$now" -ge "$end" ]; then exit 0; fi
    if [ -n "$2" ] && [ $((now - heard)) -ge "$2" ]; then exit 0; fi
done
