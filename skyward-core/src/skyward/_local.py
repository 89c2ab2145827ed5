"""The ``Local`` provider: each node is a group of processes on this machine. No account, no container, no cost."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve, frozen

from skyward import _local_processes
from skyward._selection import fits
from skyward.errors import Transient, Unavailable
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.spi.provider import Capabilities, LaunchRequest, PoolIdentity

if TYPE_CHECKING:
    from skyward._local_transport import LocalTransport
    from skyward.model.spec import ComputeSpec
    from skyward.spi.transport import Wire

__all__ = ["Local"]

_LONGEST_SOCKET = len("/n999/slot-9999.sock.abcd")
_SOCKET_PATH_LIMIT = 100
"""A Unix socket's path may have 108 bytes on Linux and 104 on macOS; some are left for the kernel's terminator."""


@frozen
class Local:
    """Nodes on this machine: worker processes that run the same code as a remote node's.

    Each node is a supervisor with ``concurrency`` slot processes, reached over Unix sockets in a private folder. An
    image without ``pip`` uses the client's own environment; with ``pip`` each node uses an environment that uv builds
    and caches. ``apt`` packages must be installed on this machine already. Tasks run in the client's working folder.
    """

    name: ClassVar[str] = "Local"
    capabilities: ClassVar[Capabilities] = Capabilities(default_lease=10.0, client_environment=True)

    async def open(self, identity: PoolIdentity, /) -> LocalSession:
        """Open a session. Nothing is created before the first launch."""
        return LocalSession(identity)


class LocalSession:
    """Starts, finds and ends the process groups of one pool."""

    def __init__(self, identity: PoolIdentity) -> None:
        self._identity = identity
        self._folders: list[str] = []
        self._numbers = itertools.count()  # never used twice: a machine may be ending while another takes its place
        self._machines: dict[str, Instance] = {}
        self._processes: dict[str, _local_processes.Machine] = {}

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """This machine, when it has what is asked for.

        Raises:
            Unavailable: the image asks for system packages that are not installed here.
        """
        if spec.image.apt:
            _require_packages(spec.image.apt)
        accelerator = _local_processes.accelerator_here() if spec.accelerator is not None else None
        here = Offer(
            provider=Local.name,
            instance_type="process",
            region="localhost",
            price=0.0,
            on_demand_price=0.0,
            vcpu=os.cpu_count() or 1,
            memory_gb=_local_processes.memory_here() / 1e9 if spec.memory_gb is not None else 0.0,
            accelerator=accelerator,
        )
        return [here] if fits(here, spec) else []

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        """Start the supervisors, all at once."""
        launched: list[Instance] = []
        for node in request.nodes:
            number = next(self._numbers)
            name = f"local-{self._identity.pool_id}-{node}-{number}"
            try:
                folder = os.path.join(self._home(), f"n{number}")
                machine = _local_processes.start(name, folder, self._identity)
            except OSError as error:
                if launched:
                    break
                raise Unavailable(
                    f"this machine cannot start another process ({error}): ask for fewer nodes or raise `ulimit -u`"
                ) from error
            instance = Instance(
                id=name,
                state=InstanceState.RUNNING,
                pool_id=self._identity.pool_id,
                node=node,
                offer=request.offer,
                ip="127.0.0.1",
                private_ip="127.0.0.1",
                deadline=self._identity.deadline,
                details={"folder": folder, "pid": machine.process.pid},
            )
            self._machines[name] = instance
            self._processes[name] = machine
            launched.append(instance)
        return launched

    def _home(self) -> str:
        """The pool's folder. The last node that ends by itself removes it, so it may have to be made again."""
        if not self._folders or not os.path.isdir(self._folders[-1]):
            self._folders.append(private_folder())
        return self._folders[-1]

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """A machine runs as long as its supervisor does."""
        found: dict[str, Instance] = {}
        for name in ids:
            if name in self._machines and self._processes[name].process.poll() is None:
                found[name] = self._machines[name]
        if strangers := {name for name in ids if name not in self._machines}:
            found |= {mark.name: _instance(mark) for mark in _local_processes.find(None, strangers)}
        return found

    async def terminate(self, ids: Sequence[str], /) -> None:
        """End the processes and remove the folders; also of machines that another client has started."""
        await _local_processes.end([self._processes[name] for name in ids if name in self._processes])
        if strangers := {name for name in ids if name not in self._processes}:
            await _local_processes.end_marked(strangers)
        for name in ids:  # only now, so that whoever asks a second time meanwhile waits as well
            self._machines.pop(name, None)
            self._processes.pop(name, None)

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        """Note it beside the processes, where every client finds it; also of machines that another one has started.

        Raises:
            Transient: it cannot be written, for instance because the disk is full.
        """
        self._identity = evolve(self._identity, deadline=deadline)
        folders = {name: self._processes[name].folder for name in ids if name in self._processes}
        if strangers := {name for name in ids if name not in folders}:
            folders |= {mark.name: mark.folder for mark in _local_processes.find(None, strangers)}
        for name, folder in folders.items():
            try:
                _local_processes.move_deadline(folder, deadline)
            except OSError as error:
                raise Transient(f"the deadline of {name} cannot be written down ({error}): make room for it") from error
            if name in self._machines:
                self._machines[name] = evolve(self._machines[name], deadline=deadline)

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Find supervisors and whatever they started by the marks in the environment of each process."""
        return [_instance(mark) for mark in _local_processes.find(pool_id)]

    def transport(self, instance: Instance, wire: Wire, /) -> LocalTransport:
        """The Unix sockets of a machine."""
        from skyward._local_transport import LocalTransport

        return LocalTransport(self._processes[instance.id], self._identity.token, wire, self._identity.lease)

    async def close(self) -> None:
        """Remove the pool's folder; its nodes have removed their own."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()
        for machine in self._processes.values():
            if machine.process.poll() is None:
                machine.process.returncode = 0  # it goes on without us, and Popen would warn that nobody waits for it
        self._processes.clear()


def _instance(mark: _local_processes.Mark) -> Instance:
    """What its marks tell of a machine."""
    return Instance(
        id=mark.name,
        state=InstanceState.RUNNING,
        pool_id=mark.pool_id,
        deadline=mark.deadline,
        owner=mark.owner,
        client=mark.client,
        details={"pids": mark.pids},
    )


def _require_packages(names: Sequence[str]) -> None:
    from skyward._apt import missing_apt_packages

    missing = missing_apt_packages(names)
    if missing:
        raise Unavailable(
            f"this machine lacks the system packages {', '.join(missing)}, and nodes on it cannot install any: run "
            f"`sudo apt-get install {' '.join(missing)}`, or leave them out of Image(apt=...)"
        )


def private_folder() -> str:
    """A new folder that only this user may enter, with a path short enough for sockets."""
    for base in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"):  # noqa: S108  made private
        if base and len(base) + len("/skyward-12345678") + _LONGEST_SOCKET <= _SOCKET_PATH_LIMIT:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="skyward-", dir=base)
    raise Unavailable("no folder for the nodes' sockets can be made: set TMPDIR to a short, writable path such as /tmp")
