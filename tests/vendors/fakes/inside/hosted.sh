#!/bin/bash
# The first process of a container on a host of a market: the SSH server, whose keys may come later as well, and then the
# customer's script, with the environment that the container was given.
umask 077
mkdir -p /run/sshd
chmod 755 /run/sshd
ssh-keygen -q -A
cat >/etc/ssh/sshd_config <<'%%'
AuthorizedKeysFile .ssh/authorized_keys /mnt/rig/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
Subsystem sftp internal-sftp
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
%%
/usr/sbin/sshd -E /var/log/sshd.log
cp /mnt/rig/onstart.sh /root/onstart.sh
chmod 700 /root/onstart.sh
bash /root/onstart.sh >/var/log/onstart.log 2>&1 </dev/null
echo "host: onstart ended with $?"
sleep infinity
