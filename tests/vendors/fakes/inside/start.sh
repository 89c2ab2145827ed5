#!/bin/bash
# What an image for pods runs where it is given no other command: keys from the environment, the SSH server, and then
# nothing. Whoever gives a command and wants to log in ends it with `exec /start.sh`.
set -e
umask 077
mkdir -p ~/.ssh /run/sshd
chmod 755 /run/sshd
if [ -n "$PUBLIC_KEY" ]; then
    printf '%s\n' "$PUBLIC_KEY" >>~/.ssh/authorized_keys
    ssh-keygen -q -A # those that are missing
    cat >/etc/ssh/sshd_config <<'%%'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
Subsystem sftp internal-sftp
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
%%
    # A login has nothing of the first process's environment, but for shells of people: images for pods leave .bashrc at
    # its start where nobody is asked for input.
    export -p | grep -v ' PUBLIC_KEY=' >/etc/rp_environment
    echo '[ -z "$PS1" ] || . /etc/rp_environment' >>~/.bashrc
    /usr/sbin/sshd -E /var/log/sshd.log
fi
echo 'pod: started'
sleep infinity
