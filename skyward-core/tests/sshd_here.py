"""A real SSH server on this machine, for the user who runs the tests, and pools whose nodes are reached through it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import pickle
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import evolve, frozen

from skyward._ssh import SshTransport, new_key_pair
from skyward._uv import base_python, find_uv
from skyward.errors import Unavailable
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.model.ssh import KeyPair, SshAddress
from skyward.spi.provider import Capabilities, LaunchRequest, PoolIdentity
from skyward.spi.transport import Wire

_SYSTEM_PATHS = "/usr/sbin:/usr/local/sbin"  # not on every ordinary user's PATH


def find_sshd() -> str | None:
    """The server's program."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + os.pathsep + _SYSTEM_PATHS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sshd:
    """One server on a loopback port, with a folder, a host key and authorised keys of its own.

    ``options`` are lines of its configuration; they go before the ones here, and the first one counts. ``path`` are
    folders that go first on PATH there; the interpreter of the tests is found too.
    """

    def __init__(self, *options: str, path: Sequence[str] = ()) -> None:
        self._folders = (*path, os.path.dirname(base_python()), os.environ["PATH"])
        program = find_sshd()
        assert program is not None, "ask for the fixture `sshd`, which skips where there is none"
        self._path = program
        self.folder = Path(tempfile.mkdtemp(prefix="sshd-", dir="/tmp"))
        self.port = free_port()
        self.host = new_key_pair("host")
        self.key = new_key_pair("client")
        self.options = options
        self.log: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.authorise(self.key)
        self.start()

    def authorise(self, *keys: KeyPair) -> None:
        """Let in whoever has one of these keys, and nobody else."""
        (self.folder / "authorized_keys").write_text("".join(f"{key.public}\n" for key in keys))

    def start(self) -> None:
        """Start it, with the host key as it is now, and return once it listens."""
        private = self.folder / "host_key"
        private.unlink(missing_ok=True)
        private.write_text(self.host.private)
        private.chmod(0o600)
        config = self.folder / "sshd_config"
        lines = [
            *self.options,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {private}",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            # A bash that a server starts reads the user's ~/.bashrc, unless another shell seems to have started it.
            # What programs such as pyenv do and say in there has nothing to do with the tests.
            f"SetEnv PATH={os.pathsep.join(self._folders)} SHLVL=1",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "PidFile none",
            "PrintMotd no",
            "StrictModes no",
            "UsePAM no",
        ]
        if self._version() >= (9, 8):
            lines.append("PerSourcePenalties no")  # refusals are what the tests are about
        config.write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd separates its privileges there
        self._process = subprocess.Popen(
            [self._path, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if "Server listening" in line:
                break
        else:
            raise AssertionError(f"sshd did not start: {''.join(self.log)}")
        self._reader = threading.Thread(target=self.log.extend, args=(self._process.stderr,))
        self._reader.start()

    def _version(self) -> tuple[int, int]:
        told = subprocess.run([self._path, "-V"], capture_output=True, text=True, check=False)
        found = re.search(r"OpenSSH_(\d+)\.(\d+)", told.stderr + told.stdout)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def sessions(self) -> list[int]:
        """Processes of the server that serve a connection."""
        assert self._process is not None
        return _descendants(self._process.pid, b"sshd")

    def cut(self) -> None:
        """End every connection at once, as a lost machine between the two would."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it with all its connections. What they have started in sessions of its own goes on."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)  # so that none is accepted meanwhile
        self.cut()
        self._process.kill()
        self._process.wait()
        assert self._reader is not None
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process = None

    def close(self) -> None:
        """Stop it, and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, **changes: Any) -> SshAddress:
        """Where it is, for a client that was told its host key and knows no configuration."""
        address = SshAddress(
            host="127.0.0.1",
            port=self.port,
            username=getpass.getuser(),
            host_key=self.host.public,
            key=self.key,
            config=(),
        )
        return evolve(address, **changes)


@pytest.fixture(scope="session")
def sshd_path(require: Any) -> list[str]:
    """Folders with what a node needs there. Skips where no SSH server can be started."""
    require(find_sshd(), "the program sshd (Debian and Ubuntu: apt install openssh-server)")
    require(sys.platform == "linux", "Linux: what is looked up below /proc", ci=False)
    return [str(asyncio.run(find_uv()).parent)]


@pytest.fixture(scope="session")
def sshd(sshd_path: list[str]) -> Iterator[Sshd]:
    """A server for all tests that do it no harm."""
    server = Sshd(path=sshd_path)
    yield server
    server.close()


@pytest.fixture
def make_sshd(sshd_path: list[str]) -> Iterator[Callable[..., Sshd]]:
    """Starts servers for one test, with options of their own."""
    made: list[Sshd] = []

    def make(*options: str) -> Sshd:
        made.append(Sshd(*options, path=sshd_path))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="session")
def ssh_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder that holds what nodes over SSH have installed, built by the first of them."""
    return str(tmp_path_factory.mktemp("ssh-root"))


def _descendants(pid: int, name: bytes) -> list[int]:
    """Processes below one, with this name."""
    children: dict[int, list[int]] = {}
    names: dict[int, bytes] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                head, _, rest = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")
                names[int(entry)] = head.partition(b"(")[2]
                children.setdefault(int(rest.split()[1]), []).append(int(entry))
    found: list[int] = []
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            todo.append(child)
            if names.get(child, b"").startswith(name):
                found.append(child)
    return found


@frozen
class OverSsh:
    """Nodes on this machine as if they were elsewhere: private folders, reached through a real SSH server.

    ``address`` is where the client looks for the server: at the server itself, or at a relay before it. The nodes share
    what is installed, below ``root``.
    """

    name: ClassVar[str] = "OverSsh"
    capabilities: ClassVar[Capabilities] = Capabilities(spot=False, private_network=True, default_lease=15.0)

    address: SshAddress
    root: str

    @property
    def source(self) -> str:
        """An expression that gives this very provider in a program whose PYTHONPATH has this folder."""
        return f"__import__('pickle').loads({pickle.dumps(self)!r})"

    async def open(self, identity: PoolIdentity, /) -> OverSshSession:
        return OverSshSession(self, identity)


class OverSshSession:
    """Makes folders, and ends what has been started in them."""

    def __init__(self, provider: OverSsh, identity: PoolIdentity) -> None:
        self._provider = provider
        self._identity = identity
        self._home = tempfile.mkdtemp(prefix="sky-", dir="/tmp")
        self._machines: dict[str, Instance] = {}
        self._served: set[str] = set()
        self.transports: dict[str, SshTransport] = {}

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        return [
            Offer(
                provider=OverSsh.name, instance_type="folder", region="here", price=0.0, on_demand_price=0.0,
                vcpu=os.cpu_count() or 1, memory_gb=64.0, accelerator=None,
            )
        ]  # fmt: skip

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        if not request.nodes:
            raise Unavailable("no machine was asked for")
        launched = []
        for node in request.nodes:
            name = f"ssh-{self._identity.pool_id}-{len(self._machines)}"
            self._machines[name] = Instance(
                id=name, state=InstanceState.RUNNING, pool_id=self._identity.pool_id, node=node, offer=request.offer,
                ip="127.0.0.1", private_ip="127.0.0.1", deadline=self._identity.deadline,
            )  # fmt: skip
            launched.append(self._machines[name])
        return launched

    def folder(self, name: str) -> str:
        return f"{self._home}/{name.rpartition('-')[2]}"

    def _pid(self, name: str) -> int | None:
        try:
            return int(Path(self.folder(name), "pid").read_text())
        except (OSError, ValueError):
            return None

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        found = {}
        for name in ids:
            if self._pid(name) is not None:
                self._served.add(name)
            elif name in self._served:  # it has ended itself
                continue
            if name in self._machines:
                found[name] = self._machines[name]
        return found

    async def terminate(self, ids: Sequence[str], /) -> None:
        for name in ids:
            pid = self._pid(name)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    descriptor = os.pidfd_open(pid)
                    os.kill(pid, signal.SIGTERM)
                    select.select([descriptor], [], [], 10)
                    os.close(descriptor)
            shutil.rmtree(self.folder(name), ignore_errors=True)
            self._machines.pop(name, None)

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        self._identity = evolve(self._identity, deadline=deadline)
        self._machines |= {
            name: evolve(self._machines[name], deadline=deadline) for name in ids if name in self._machines
        }

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        return [instance for instance in self._machines.values() if pool_id in (None, instance.pool_id)]

    def transport(self, instance: Instance, wire: Wire, /) -> SshTransport:
        address = self._provider.address
        transport = SshTransport(
            instance.id, address, self._identity, wire,
            root=self._provider.root, folder=self.folder(instance.id),
        )  # fmt: skip
        self.transports[instance.id] = transport
        return transport

    async def close(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
