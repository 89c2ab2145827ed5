"""Instances that can be reached: a container for each, at the addresses that the API reports."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import secrets
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from attrs import Factory, asdict, define, field, frozen

from .server import sweep
from .userdata import Boot

__all__ = ["BASE", "Inside", "Machine", "Machines", "abandoned", "folder_of", "podman"]

BASE = os.environ.get("SKYWARD_TEST_BASE", "localhost/debian-trixie-standin")
LABEL = "skyward-aws-rig"

_RECIPE = """
set -e
export DEBIAN_FRONTEND=noninteractive
{
    apt-get -q update && apt-get -q install -y --no-install-recommends curl sudo rclone fuse3
    rm -rf /var/lib/apt/lists/*
} >/dev/null
useradd --create-home --shell /bin/bash --uid 1000 ubuntu
usermod -p '*' ubuntu && usermod -p '*' root
echo 'ubuntu ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/90-cloud-init-users
rm -f /etc/ssh/ssh_host_*
for name in shutdown poweroff halt; do
    printf '#!/bin/sh\\nexec python3 /mnt/rig/machine.py %s "$@"\\n' $name >/usr/sbin/$name
    chmod 755 /usr/sbin/$name
done
"""


def podman(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What podman says; an ``AssertionError`` with its words where it fails. ``environment`` goes beside our own."""
    env = {**os.environ, **environment} if environment else None
    done = subprocess.run(("podman", *arguments), capture_output=True, text=True, env=env)
    assert not done.returncode, f"podman {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def image() -> str:
    """The image of the machines, made of the base the first time."""
    content = podman("image", "inspect", "--format", "{{.Id}}", BASE) + _RECIPE
    tag = f"localhost/{LABEL}:{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if subprocess.run(("podman", "image", "exists", tag)).returncode:
        name = f"{LABEL}-{secrets.token_hex(6)}"
        try:
            podman("run", "--name", name, "--network", "host", "--http-proxy=true", BASE, "sh", "-c", _RECIPE)
            podman("commit", "--quiet", name, tag)
        finally:
            subprocess.run(("podman", "rm", "--force", name), capture_output=True)
    return tag


@frozen
class Inside:
    """What a container is where it does not stand for a machine of Amazon's."""

    command: tuple[str, ...] = ("python3", "-u", "/mnt/rig/machine.py")
    """Its first process."""
    environment: Mapping[str, str] = field(factory=dict)
    """What that process has in its environment."""
    files: Mapping[str, str] = field(factory=dict)
    """Programs and their text, by where they are: an absolute path, or one below /mnt/rig."""
    port: int = 22
    """Behind which port of its public address its port 22 is."""
    before: Callable[[Machine], object] | None = None
    """Is waited for before it boots; has to return when the machine has ended."""


@define(eq=False)
class Machine:
    """One container. It is there until it ends by itself, or is ended."""

    name: str
    public_ip: str
    private_ip: str
    folder: Path
    ended: threading.Event = field(factory=threading.Event)
    _starting: threading.Thread | None = None
    _threads: list[threading.Thread] = field(factory=list)

    def sh(self, text: str) -> str:
        """What a shell in it prints, as root."""
        self.started()
        return podman("exec", self.name, "sh", "-c", text)

    def started(self) -> None:
        """Wait until the container runs, or has failed to."""
        if self._starting is not None:
            self._starting.join()

    def logs(self) -> str:
        """What it has printed since its boot."""
        command = ("podman", "logs", self.name)
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout

    def tell(self, path: str, content: str | None) -> None:
        """Let its metadata service say something; ``None`` for no longer."""
        file = self.folder / "imds" / path
        if content is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}")
        new.write_text(content)
        new.rename(file)

    def announce_interruption(self, seconds: float = 120) -> None:
        """The notice that a spot instance gets before it is taken back."""
        when = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.tell("meta-data/spot/termination-time", when)
        self.tell("meta-data/spot/instance-action", json.dumps({"action": "terminate", "time": when}))

    def recommend_rebalance(self) -> None:
        """The notice that it may be taken back."""
        when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.tell("meta-data/events/recommendations/rebalance", json.dumps({"noticeTime": when}))


def folder_of(label: str) -> Path:
    """The rig's folder, by its label; nobody else may look into it."""
    folder = Path("/tmp", label.replace("=", "-"))
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@define(eq=False)
class Machines:
    """The containers of one rig, in a network per region whose addresses are those of the region's VPC."""

    options: tuple[str, ...] = ()
    """What else ``podman run`` is told, such as ``("--device", "/dev/fuse")``."""
    label: str = field(factory=lambda: f"{LABEL}={os.getpid()}-{_born(os.getpid())}-{secrets.token_hex(4)}")
    by_id: dict[str, Machine] = field(factory=dict)
    problems: list[str] = field(factory=list)
    """What user data asked for that the rig cannot do, and containers that did not start."""
    _networks: dict[str, str] = field(factory=dict)
    folder: Path = field(default=Factory(lambda self: folder_of(self.label), takes_self=True))
    _lock: threading.Lock = field(factory=threading.Lock)

    def gateway(self, region: str) -> str:
        """The address at which the machines of a region reach this one.

        It is up as long as a container is, so one is started that does nothing: programs here may use it as well.
        """
        address = f"{self.prefix(region)}255.254"
        network = self._networks[region].split()[1]
        labelled = ("--label", self.label, "--network", network)
        podman("run", "--detach", "--pull", "never", *labelled, "--entrypoint", "sleep", image(), "infinity")
        return address

    def prefix(self, region: str) -> str:
        """How the private addresses of a region begin, as ``10.123.``: it takes the place of moto's ``172.31.``."""
        with self._lock:
            while region not in self._networks:
                number = 100 + secrets.randbelow(150)
                where = ("--subnet", f"10.{number}.0.0/16", "--gateway", f"10.{number}.255.254")
                command = (
                    "podman",
                    "network",
                    "create",
                    "--label",
                    self.label,
                    *where,
                    f"{LABEL}-{secrets.token_hex(4)}",
                )
                made = subprocess.run(command, capture_output=True, text=True)
                assert not made.returncode or "already" in made.stderr or "overlap" in made.stderr, made.stderr
                if not made.returncode:
                    self._networks[region] = f"10.{number}. {made.stdout.strip()}"
            return self._networks[region].split()[0]

    def start(
        self,
        instance: str,
        region: str,
        addresses: tuple[str, str],
        asked: Boot,
        metadata: Mapping[str, str],
        ended: Callable[[str], None],
        inside: Inside = Inside(),
    ) -> Machine:
        """Start one in the background, reachable from outside if the first of its addresses is not empty.

        ``ended`` is called with its id when it has ended, by itself or not.
        """
        self.problems += (f"{instance}: the rig does not know {problem}" for problem in asked.problems)
        public, private = addresses
        machine = Machine(f"{LABEL}-{instance}-{secrets.token_hex(2)}", public, private, self.folder / instance)
        machine.folder.mkdir()
        shutil.copy(Path(__file__).with_name("machine.py"), machine.folder)
        file = machine.folder / "boot.json"
        file.touch(0o600)
        file.write_text(json.dumps(asdict(asked)))
        for path, content in metadata.items():
            machine.tell(path, content)
        self.by_id[instance] = machine
        machine._starting = threading.Thread(
            target=self._run, args=(machine, region, instance, ended, inside), name=f"rig-{instance}"
        )
        machine._threads.append(machine._starting)
        machine._starting.start()
        return machine

    def _run(self, machine: Machine, region: str, instance: str, ended: Callable[[str], None], inside: Inside) -> None:
        if inside.before is not None:
            inside.before(machine)
            if machine.ended.is_set():
                return
        mounts: list[str] = []
        for path, text in inside.files.items():
            file = machine.folder / Path(path).name
            file.write_text(text)
            file.chmod(0o755)
            if path.startswith("/"):
                mounts += ("--mount", f"type=bind,source={file},destination={path},ro")
        names = [f"--env={name}" for name in inside.environment]  # their values are on no command line
        self.prefix(region)
        network = self._networks[region].split()[1]
        try:
            podman(
                *("run", "--detach", "--pull", "never", "--name", machine.name, "--label", self.label),
                *("--network", network, "--ip", machine.private_ip),
                *(("--publish", f"{machine.public_ip}:{inside.port}:22") if machine.public_ip else ()),
                *("--hostname", "ip-" + machine.private_ip.replace(".", "-"), "--http-proxy=false"),
                *("--cap-add", "NET_ADMIN", "--mount", f"type=bind,source={machine.folder},destination=/mnt/rig,ro"),
                *(*self.options, *mounts, *names, image(), *inside.command),
                environment=inside.environment,
            )
            pid = int(podman("inspect", "--format", "{{.State.Pid}}", machine.name))
        except AssertionError as problem:
            if not machine.ended.is_set():
                self.problems.append(f"{instance} did not start: {problem}")
            return
        watcher = threading.Thread(
            target=self._watch, args=(machine, pid, instance, ended), name=f"rig-{instance}-watch"
        )
        machine._threads.append(watcher)
        watcher.start()

    def _watch(self, machine: Machine, pid: int, instance: str, ended: Callable[[str], None]) -> None:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid or 2**30)
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll()
            os.close(handle)
        machine.ended.set()
        ended(instance)

    def end(self, instance: str) -> None:
        """Kill one, in the background; it is not there again."""
        if machine := self.by_id.get(instance):
            machine.ended.set()
            ending = threading.Thread(target=self._remove, args=(machine,), name=f"rig-{instance}-end")
            machine._threads.append(ending)
            ending.start()

    def _remove(self, machine: Machine) -> None:
        machine.started()
        subprocess.run(("podman", "rm", "--force", "--time", "0", machine.name), capture_output=True)

    def clear(self) -> None:
        """Remove all of them, and wait until they are gone."""
        self.remove(list(self.by_id))
        self.problems.clear()

    def remove(self, instances: Iterable[str]) -> None:
        """Remove these, and wait until they are gone."""
        gone = {instance: self.by_id[instance] for instance in instances}
        for instance in gone:
            self.end(instance)
        for instance, machine in gone.items():
            while machine._threads:
                machine._threads.pop().join()
            shutil.rmtree(machine.folder, ignore_errors=True)
            del self.by_id[instance]

    def close(self) -> None:
        """Remove everything that the rig has made."""
        self.clear()
        sweep(self.label)
        shutil.rmtree(self.folder, ignore_errors=True)


def _born(pid: int) -> str:
    """When a process began, in ticks since the boot: with its number it names the process for good."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def abandoned() -> Iterator[str]:
    """The labels of rigs whose process is gone."""
    text = "\n".join(path.name for path in Path("/tmp").glob(f"{LABEL}-*"))
    for command in (("ps", "--all"), ("network", "ls")):
        listed = ("podman", *command, "--filter", f"label={LABEL}", "--format", "{{.Labels}}")
        text += subprocess.run(listed, capture_output=True, text=True).stdout
    for value in set(re.findall(rf"{LABEL}[:=-](\d+-\d+-[0-9a-f]{{8}})\b", text)):
        pid, born, _ = value.split("-")
        try:
            alive = _born(int(pid)) == born
        except OSError:
            alive = False
        if not alive:
            yield f"{LABEL}={value}"
