"""What a vendor sells: a container with an SSH server for each machine; or nothing, where only the API counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define
from rig.machines import Inside, podman
from rig.userdata import Boot, boot

from .yard import Yard, free_address, text_inside

__all__ = ["FakeMachine", "FakeMachines", "Next"]


@define
class Next:
    """How the machines that are started next differ from others."""

    hold: threading.Event | None = None
    """They boot when this is set; until then nobody listens at their address, which is told already."""
    impostor: bool = False
    """Another SSH server answers at their address, with a host key of its own."""
    times: int = 1


@define(eq=False)
class FakeMachine:
    """One machine. What it was started with stays here for tests to look at."""

    id: str
    host: str
    port: int
    authorized: list[str]
    env: Mapping[str, str]
    args: Sequence[str] | None
    onstart: str | None
    script: str
    user_data: bytes
    ended: Callable[[str], object]
    over: bool = False
    """Whether it has ended, by itself or not."""
    _machine: Any = None

    def sh(self, text: str) -> str:
        """What a shell in it prints, as root; it is waited for until it has booted."""
        return str(self._real.sh(text))

    def logs(self) -> str:
        """What its first process has printed."""
        return str(self._real.logs())

    def authorize(self, key: str) -> None:
        """Let in one more public key: of a machine with ``onstart``, also while it runs."""
        self.authorized.append(key)
        if self._machine is not None:
            new = self._machine.folder / "authorized_keys.new"
            new.write_text("".join(f"{each.strip()}\n" for each in self.authorized))
            new.chmod(0o600)
            new.rename(self._machine.folder / "authorized_keys")

    def freeze(self) -> None:
        """Stop all that runs in it, as a host that hangs does; its address still accepts connections."""
        self._real.started()
        podman("pause", self._real.name)

    def thaw(self) -> None:
        """Let it go on."""
        podman("unpause", self._real.name)

    def change_host_key(self) -> None:
        """Let its SSH server have another key from now on; connections that are open stay."""
        self.sh("rm -f /etc/ssh/ssh_host_*; ssh-keygen -q -A; kill -HUP $(cat /run/sshd.pid)")

    @property
    def _real(self) -> Any:
        assert self._machine is not None, "this machine is pretended"
        return self._machine


class FakeMachines:
    """The machines of one vendor.

    Args:
        vendor: its name, as part of the containers' names.
        yard: where the containers are; ``None`` pretends them: their addresses are ones where nobody listens.
    """

    def __init__(self, vendor: str, yard: Yard | None = None) -> None:
        self._vendor = vendor
        self._yard = yard
        self._all: dict[str, FakeMachine] = {}
        self._next: list[Next] = []
        self._lock = threading.Lock()

    @property
    def real(self) -> bool:
        """Whether one can log in to them."""
        return self._yard is not None

    @property
    def address(self) -> str:
        """Where a `VendorServer` has to listen to be reached from them."""
        return self._yard.address if self._yard else "127.0.0.1"

    def next(self, *, hold: threading.Event | None = None, impostor: bool = False, times: int = 1) -> None:
        """Have the machines that are started next boot late, or somebody else answer in their place."""
        with self._lock:
            self._next.append(Next(hold, impostor, times))

    def start(
        self,
        name: str,
        *,
        authorized: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        args: Sequence[str] | None = None,
        onstart: str | None = None,
        script: str = "",
        user_data: bytes = b"",
        port: int = 22,
        ended: Callable[[str], object] = lambda _: None,
    ) -> FakeMachine:
        """Start one; its address is known at once, and it boots in the background.

        Args:
            name: its id at the vendor; each has one of its own.
            authorized: public keys that log in as root.
            env: the environment of the first process.
            args: for a container whose first process this command is, as ``("bash", "-c", "...; exec /start.sh")``; the
                image's own ``/start.sh`` for an empty one. It has no other SSH server than that which ``/start.sh``
                starts, for keys in ``PUBLIC_KEY``.
            onstart: for a container with an SSH server, behind which this script runs with ``env``.
            script: for a machine, without ``args`` and ``onstart``: runs as root at the boot.
            user_data: for a machine: as cloud-init reads it.
            port: behind which port of its address the machine's port 22 is.
            ended: called with the id, on a thread of its own, when it has ended by itself or was killed, but not when
                it was removed.
        """
        env = dict(env or {})
        with self._lock:
            assert name not in self._all, f"{self._vendor} has a machine {name} already"
            plan = next((each for each in self._next if each.times), Next())
            plan.times -= 1
            machine = FakeMachine(
                name, free_address(port), port, list(authorized), env, args, onstart, script, user_data, ended
            )
            self._all[name] = machine
        if self._yard is None:
            return machine

        hold = plan.hold

        def before(_: object) -> None:
            while hold is not None and not hold.wait(0.1) and not machine.over:
                pass

        asked = boot(user_data)
        asked.authorized += authorized
        asked.root = True
        asked.late += [script] if script else []
        command, files = _first(args, onstart)
        inside = Inside(environment=env, files=files, port=port, before=before, **command)
        public = "" if plan.impostor else machine.host
        started: Any = self._yard.start(
            self._of(name), public, asked=asked, ended=lambda _: self._tell(machine), inside=inside
        )
        machine._machine = started
        if onstart is not None and authorized:
            machine.authorize(machine.authorized.pop())
        if plan.impostor:
            other = Inside(port=port, before=before)
            self._yard.start(
                f"{self._of(name)}-impostor", machine.host, asked=Boot(), ended=lambda _: None, inside=other
            )
        return machine

    def kill(self, name: str) -> None:
        """Have one end as if by itself: ``ended`` is called, before this returns."""
        self._tell(self._all[name])
        self.end(name)

    def end(self, name: str) -> None:
        """Remove one, in the background. It is fine if it has ended."""
        machine = self._all[name]
        machine.over = True
        if self._yard is not None:
            for each in self._names(name):
                self._yard.machines.end(each)

    def __getitem__(self, name: str) -> FakeMachine:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        """The ids of all that were ever started."""
        return iter(list(self._all))

    @property
    def problems(self) -> list[str]:
        """Machines that did not start, and what user data asked for that they cannot do."""
        if self._yard is None:
            return []
        return [each for each in self._yard.machines.problems if each.startswith(f"{self._vendor}-")]

    def clear(self) -> None:
        """Remove all, and wait until they are gone."""
        for name in self._all:
            self.end(name)
        if self._yard is not None:
            self._yard.machines.remove([each for name in self._all for each in self._names(name)])
            self._yard.machines.problems[:] = [
                each for each in self._yard.machines.problems if not each.startswith(f"{self._vendor}-")
            ]
        self._all.clear()
        self._next.clear()

    def _tell(self, machine: FakeMachine) -> None:
        with self._lock:
            told, machine.over = machine.over, True
        if not told:
            machine.ended(machine.id)

    def _of(self, name: str) -> str:
        return f"{self._vendor}-{name}"

    def _names(self, name: str) -> list[str]:
        assert self._yard is not None
        both = (self._of(name), f"{self._of(name)}-impostor")
        return [each for each in both if each in self._yard.machines.by_id]


def _first(args: Sequence[str] | None, onstart: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    """The first process of a container, and what it needs."""
    if args is not None:
        return {"command": tuple(args) or ("/start.sh",)}, {"/start.sh": text_inside("start.sh")}
    if onstart is not None:
        files = {"hosted.sh": text_inside("hosted.sh"), "onstart.sh": onstart}
        return {"command": ("/mnt/rig/hosted.sh",)}, files
    return {}, {}
