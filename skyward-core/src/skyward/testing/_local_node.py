"""A machine that is processes on this one: tasks run there, and it can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Buffer, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from skyward import _local_processes
from skyward._local import private_folder
from skyward._local_transport import LocalTransport
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Wire
from skyward.testing._record import TAKEN
from skyward.worker.protocol import HEADER, Frame, Kind, encode, head_of

if TYPE_CHECKING:
    from skyward.model.bootstrap import Step
    from skyward.model.image import Image
    from skyward.spi.provider import PoolIdentity
    from skyward.testing._backend import Backend
    from skyward.testing._record import Record

__all__ = ["LocalNode"]


class LocalNode:
    """The processes of one machine. They are started when its road is asked for, which is once it runs.

    The deadline is the cloud's: the processes are ended when its clock has come so far. The lease is their own, and
    goes by the system's clock.
    """

    ip: str | None = "127.0.0.1"
    keeps_lease = True  # its processes count it themselves

    def __init__(self, backend: Backend, machine_id: str) -> None:
        self._backend = backend
        self._id = machine_id
        self._processes: _local_processes.Machine | None = None
        self._control: Link | None = None
        self._stopped = False
        self._notices: int | None = None  # the pipe by which it is told that it will be taken back
        self._early: bytes = b""

    def ended(self) -> bool:
        """Whether the supervisor has ended, other than by its client's word: that leaves the machine as it is."""
        return self._processes is not None and not self._stopped and self._processes.process.poll() is not None

    def road(self, identity: PoolIdentity, wire: Wire) -> _LocalRoad:
        """The way to it."""
        with self._backend.lock:
            if self._processes is None:
                self._processes = self._start(identity)
        return _LocalRoad(self, LocalTransport(self._processes, identity.token, wire, identity.lease))

    def _start(self, identity: PoolIdentity) -> _local_processes.Machine:
        deadline = self.record.deadline
        if deadline is not None:  # a net below the cloud's own, in time that passes by itself
            deadline = time.time() + max(deadline - self._backend.clock.time(), 0.0)
        name = f"fake-{identity.pool_id}-{self._id}"
        folder = os.path.join(private_folder(), "n")
        processes = _local_processes.start(name, folder, evolve(identity, deadline=deadline))
        os.mkfifo(_pipe_of(processes), 0o600)
        # For both ways: so it opens though nobody reads yet, keeps what is written, and does not end in between.
        self._notices = os.open(_pipe_of(processes), os.O_RDWR | os.O_CLOEXEC)
        os.write(self._notices, self._early)
        return processes

    def lookout(self) -> str | None:
        """The program that hands on what the cloud writes into the machine's pipe."""
        if self._processes is None:
            return None
        return f"for line in open({_pipe_of(self._processes)!r}):\n    print(line, end='', flush=True)\n"

    def warn(self, seconds: float) -> None:
        """Let the machine know that it will be taken back."""
        said = json.dumps({"reason": TAKEN, "seconds": seconds}).encode() + b"\n"
        with self._backend.lock:
            if self._notices is None:
                self._early = said
            else:
                os.write(self._notices, said)

    @property
    def record(self) -> Record:
        """What the cloud knows of this machine."""
        return self._backend.records[self._id]

    async def act(self, method: str) -> None:
        """One call, as the script has it."""
        await self._backend.act(method, self._id, lambda: None)

    def connected(self, control: Link) -> Link:
        """The client is connected; what it says of the deadline is heard by the cloud, too."""
        self._control = control
        return _Overheard(control, self)

    def heard(self, frame: Frame) -> None:
        """The client has said something on the control channel."""
        match frame.kind:
            case Kind.CONFIGURE:
                self.record.configuration = head_of(frame)
            case Kind.EXTEND:
                (seconds,) = head_of(frame)
                self._backend.extend(self.record, seconds)
            case Kind.STOP:
                self._stopped = True
            case _:
                pass

    def end(self, why: str) -> None:
        """Tell the processes to end, or kill them where a real machine would vanish without a word."""
        if self._processes is None:
            return
        if why == "deadline" and self._control is not None:
            self._control.send(encode(Kind.EXTEND, head=(0.0,)))  # it tells its client of it, and ends
        elif why in ("preempted", "lost"):
            self._kill()
        else:
            self._processes.process.terminate()

    def _kill(self) -> None:
        assert self._processes is not None
        self._processes.process.kill()
        for mark in _local_processes.find(None, {self._processes.name}):
            for pid in mark.pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    async def remove(self) -> None:
        """Wait until no process and no folder is left."""
        if self._processes is not None:
            await _local_processes.end([self._processes])
            self._remove_folder()

    def clear(self) -> None:
        """Kill what is left, and remove its folder."""
        if self._processes is not None:
            self._kill()
            self._processes.process.wait()
            self._remove_folder()

    def _remove_folder(self) -> None:
        assert self._processes is not None
        shutil.rmtree(os.path.dirname(self._processes.folder), ignore_errors=True)
        with self._backend.lock:
            notices, self._notices = self._notices, None
        if notices is not None:
            os.close(notices)


def _pipe_of(processes: _local_processes.Machine) -> str:
    # In the folder that the supervisor removes: else a machine whose client was killed would leave the one above.
    return os.path.join(processes.folder, "notices")


class _Overheard:
    """A link whose frames the machine's cloud hears as well."""

    def __init__(self, link: Link, node: LocalNode) -> None:
        self._link = link
        self._node = node

    def send(self, parts: Sequence[Buffer], /) -> None:
        """Pass a frame on. Those of the control channel are small, and each is one part."""
        data = bytes(parts[0])
        _, _, kind, _, _, number, size, _, _ = HEADER.unpack_from(data)
        self._node.heard(Frame(kind, number, 0, data[HEADER.size : HEADER.size + size], []))
        self._link.send(parts)

    def close(self) -> None:
        """Close the link."""
        self._link.close()


class _LocalRoad:
    """The way to a machine of local processes."""

    def __init__(self, node: LocalNode, road: LocalTransport) -> None:
        self._node = node
        self._road = road

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        """As of ``sky.Local()``, after what the script has for it."""
        await self._node.act("bootstrap")
        return await self._road.bootstrap(image, report, steps)

    async def open(self, name: str, receiver: Receiver, /) -> Link:
        """Connect to a socket of the machine."""
        link = await self._road.open(name, receiver)
        return self._node.connected(link) if name == "control" else link

    async def close(self) -> None:
        """Let go of the road."""
        await self._road.close()
