"""Machines as they are rented: an SSH server, `/bin/sh` and little else, in real containers of this one's network."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sshd_here import free_port

from skyward._reactor import Reactor
from skyward._ssh import SshTransport, new_key_pair
from skyward.model.bootstrap import Step
from skyward.model.image import Image
from skyward.model.ssh import SshAddress
from skyward.spi.provider import PoolIdentity
from skyward.worker.protocol import Kind, encode, head_of

DEBIAN = os.environ.get("SKYWARD_TEST_BASE", "localhost/debian-trixie-standin")
UBUNTU = "localhost/ubuntu-noble-standin"
PYTHON = {DEBIAN: "3.13", UBUNTU: "3.12"}
"""What their packages have; functions are not sent here, so it need not be the client's."""

# Once with whatever the stand-in has, once with nothing: neither Python nor certificates nor a program that downloads.
_USERS = """
set -e
export DEBIAN_FRONTEND=noninteractive
{ apt-get -q update && apt-get -q install -y --no-install-recommends sudo && rm -rf /var/lib/apt/lists/*; } >/dev/null
for name in admin plain; do useradd --create-home --shell /bin/sh $name && usermod -p '*' $name; done
usermod -p '*' root
echo 'admin ALL=(ALL:ALL) NOPASSWD:ALL' >/etc/sudoers.d/admin
rm -f /etc/ssh/ssh_host_*
"""
_STRIPPED = """
there=$(dpkg-query -W -f '${Package}\n' | grep -E '^(lib)?python3|^openssl$|^ca-certificates$' || true)
apt-get -q purge -y --autoremove $there >/dev/null
rm -rf /etc/ssl/certs /usr/share/ca-certificates
for name in python3 curl wget uv unzip busybox; do ! command -v $name || exit 1; done
"""

_SSHD = """\
ListenAddress 127.0.0.1
Port {port}
HostKey /run/test/host_key
AuthorizedKeysFile /run/test/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
"""

_START = """
umask 077
mkdir -p /run/sshd
cp -r /mnt/test /run/test
chmod 755 /run/test
chmod 644 /run/test/authorized_keys
/usr/sbin/sshd -f /run/test/sshd_config
exec sleep 1000
"""


def podman(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(("podman", *arguments), capture_output=True, text=True, check=False)
    assert not check or not done.returncode, done.stderr
    return done.stdout


def made_of(base: str, *, bare: bool) -> str:
    """The name of an image with users, made of a base the first time."""
    recipe = _USERS + (_STRIPPED if bare else "")
    content = podman("image", "inspect", "--format", "{{.Id}}", base) + recipe
    tag = f"localhost/skyward-test-machine:{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if subprocess.run(("podman", "image", "exists", tag), check=False).returncode:
        name = f"skyward-test-{secrets.token_hex(6)}"
        try:
            podman("run", "--name", name, "--network", "host", "--http-proxy=true", base, "sh", "-c", recipe)
            podman("commit", "--quiet", name, tag)
        finally:
            podman("rm", "--force", name, check=False)
    return tag


class Bare:
    """A machine that runs, and a transport to it."""

    def __init__(self, image: str, reactor: Reactor, *options: str) -> None:
        self._reactor = reactor
        self._host, self._key = new_key_pair("host"), new_key_pair("client")
        self.port = free_port()
        self.name = f"skyward-test-{secrets.token_hex(6)}"
        self.folder = Path(tempfile.mkdtemp(prefix="bare-", dir="/tmp"))
        for name, text in (
            ("host_key", self._host.private),
            ("authorized_keys", self._key.public + "\n"),
            ("sshd_config", _SSHD.format(port=self.port)),
        ):
            (self.folder / name).write_text(text)
        mount = f"type=bind,source={self.folder},destination=/mnt/test,ro"
        command = ("run", "--detach", "--pull", "never", "--network", "host", "--http-proxy=false")
        podman(*command, "--mount", mount, "--name", self.name, *options, image, "sh", "-c", _START)
        # Now: where everybody asks the engine it takes seconds to tell, too long for who wants to kill in a phase.
        self._first = int(podman("inspect", "--format", "{{.State.Pid}}", self.name))
        self.identity = PoolIdentity(
            pool_id="p", owner="me", deadline=time.time() + 600, lease=60.0, token=secrets.token_bytes(16)
        )
        self.phases: list[tuple[str, str]] = []
        self.begins: Callable[[str], None] = lambda _phase: None

    def sh(self, text: str, *, check: bool = True) -> str:
        """What a shell there prints, as root."""
        return podman("exec", self.name, "sh", "-c", text, check=check)

    def processes(self) -> list[int]:
        """What sessions there have started, by the numbers of this machine."""
        parents: dict[int, int] = {}
        names: dict[int, bytes] = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                head, _, rest = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")
                names[int(entry)], parents[int(entry)] = head.partition(b"(")[2], int(rest.split()[1])

        def is_there(pid: int) -> bool:
            while pid in parents and pid != self._first:
                pid = parents[pid]
            return pid == self._first

        return [pid for pid in names if is_there(pid) and pid != self._first and not names[pid].startswith(b"sshd")]

    def address(self, user: str = "root", **changes: Any) -> SshAddress:
        given = {"port": self.port, "username": user, **changes}
        return SshAddress(host="127.0.0.1", host_key=self._host.public, key=self._key, config=(), **given)

    def transport(self, user: str = "root", *, address: SshAddress | None = None, **options: Any) -> SshTransport:
        return SshTransport("machine", address or self.address(user), self.identity, self._reactor, **options)

    def report(self, phase: str, state: str, seconds: float | None) -> None:
        self.phases.append((phase, state))
        if state == "started":
            self.begins(phase)

    def becomes_a_node(self, image: Image, user: str = "root", *, steps: Sequence[Step] = (), **options: Any) -> None:
        """Make it ready, and hear its supervisor."""

        async def work() -> None:
            transport = self.transport(user, **options)
            try:
                await transport.bootstrap(image, self.report, steps)
                ear = Ear()
                link = await transport.open("control", ear)
                link.send(encode(Kind.PING))
                async with asyncio.timeout(60):
                    assert head_of(await ear.welcome)["pid"] > 0
                link.close()
            finally:
                await transport.close()

        self.phases.clear()
        asyncio.run(work())

    def completed(self) -> list[str]:
        return [phase for phase, state in self.phases if state == "completed"]

    def close(self) -> None:
        podman("rm", "--force", "--time", "0", self.name, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Ear:
    """Waits for a supervisor's welcome."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[Any] = self._loop.create_future()

    def on_frame(self, frame: Any) -> None:
        if frame.kind == Kind.WELCOME:
            self._loop.call_soon_threadsafe(self._told, frame)

    def _told(self, frame: Any) -> None:
        if not self.welcome.done():
            self.welcome.set_result(frame)

    def on_lost(self, error: Exception | None) -> None:
        pass


@pytest.fixture
def make_bare(require: Any) -> Iterator[Callable[..., Bare]]:
    """Starts machines for one test: ``make_bare(DEBIAN)``, and with ``bare=False`` those that have what it has."""
    machines: list[Bare] = []
    reactor = Reactor("test-io")

    def make(base: str, *options: str, bare: bool = True) -> Bare:
        works = (
            shutil.which("podman")
            and not subprocess.run(
                ("podman", "run", "--rm", "--pull", "never", "--network", "none", base, "true"), capture_output=True
            ).returncode
        )
        # Debian's mirrors are always there; Ubuntu's may not be.
        require(works, f"podman, and the image {base}, which scripts/ci-containers.sh makes", ci=base == DEBIAN)
        machines.append(Bare(made_of(base, bare=bare), reactor, *options))
        return machines[-1]

    yield make
    for machine in machines:
        machine.close()
    reactor.close()
