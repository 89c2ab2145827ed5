"""Local machines as processes: starting a supervisor, finding what it started, and ending all of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from skyward.errors import Transient
from skyward.worker.greeting import listen

if TYPE_CHECKING:
    from skyward.model.accelerator import Accelerator
    from skyward.spi.provider import PoolIdentity

__all__ = ["Machine", "Mark", "accelerator_here", "end", "end_marked", "find", "memory_here", "move_deadline", "start"]

_NODE = "SKYWARD_NODE"
_POOL = "SKYWARD_POOL"
_OWNER = "SKYWARD_OWNER"
_DEADLINE = "SKYWARD_DEADLINE"
_CLIENT = "SKYWARD_CLIENT"
_FOLDER = "SKYWARD_FOLDER"
_MOVED = "deadline"
"""The file in a machine's folder that tells its deadline after it was moved."""
_PATIENCE = 8.0
"""Seconds that a supervisor may take to end itself before it is killed. It gives what its tasks have left behind up to
5 s, and only it knows of all of that."""


@frozen
class Machine:
    """A supervisor's process and its folder."""

    name: str
    folder: str
    process: subprocess.Popen[bytes] = field(eq=False)

    @property
    def log(self) -> str:
        """Path of the file that takes what the supervisor itself writes."""
        return os.path.join(self.folder, "supervisor.log")


@frozen
class Mark:
    """Processes that bear the name of one local machine in their environment."""

    name: str
    pool_id: str
    pids: tuple[int, ...]
    owner: str = ""
    client: str = ""
    deadline: float | None = None
    folder: str = ""


def start(name: str, folder: str, identity: PoolIdentity) -> Machine:
    """Start a supervisor. Its control socket exists when this returns, so connecting to it cannot come too early."""
    os.mkdir(folder, 0o700)
    listener = listen(os.path.join(folder, "control.sock"))
    lifetime = None if identity.deadline is None else identity.deadline - time.time()
    settings = {
        "token": identity.token.hex(),
        "directory": folder,
        "listener": listener.fileno(),
        "lease": identity.lease,
        "lifetime": lifetime,
    }
    environment = {
        **os.environ,
        _NODE: name,
        _POOL: identity.pool_id,
        _OWNER: identity.owner,
        _CLIENT: identity.client,
        _FOLDER: folder,
        _DEADLINE: "" if identity.deadline is None else f"{identity.deadline:.0f}",
    }
    read, write = os.pipe()
    with listener, open(os.path.join(folder, "supervisor.log"), "wb") as log, open(read, "rb") as stdin:
        with open(write, "wb") as pipe:  # before it starts, so that it never lives without knowing its lease
            pipe.write(json.dumps(settings).encode() + b"\n")
        process = subprocess.Popen(  # our own interpreter, and nothing of the user's
            [sys.executable, "-P", "-m", "skyward.worker"],
            stdin=stdin,
            stdout=log,
            stderr=log,
            env=environment,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C in the terminal is the client's alone
        )
    return Machine(name, folder, process)


async def end(machines: Sequence[Machine]) -> None:
    """End machines and prove that nothing of them is left. Idempotent.

    Raises:
        Transient: a process did not even end by SIGKILL, for instance because a file system hangs.
    """
    for machine in machines:
        machine.process.terminate()
    if not await _ended(machines, _PATIENCE):
        for machine in machines:
            machine.process.kill()
        await _ended(machines, _PATIENCE)
    # A task may have started processes in sessions of their own; they still bear the machine's name.
    await _signal_marked({machine.name for machine in machines}, signal.SIGKILL)
    for machine in machines:
        shutil.rmtree(machine.folder, ignore_errors=True)


async def end_marked(names: AbstractSet[str]) -> None:
    """End machines that another process has started. Idempotent.

    Raises:
        Transient: as `end`.
    """
    with contextlib.suppress(Transient):  # so that a supervisor may remove its folder
        await _signal_marked(names, signal.SIGTERM)
    await _signal_marked(names, signal.SIGKILL)


async def _signal_marked(names: AbstractSet[str], number: signal.Signals) -> None:
    """Send a signal to the processes that bear these names until there are none."""
    limit = time.monotonic() + _PATIENCE
    while left := [pid for mark in find(None, names) for pid in mark.pids]:
        if time.monotonic() > limit:
            raise Transient(f"processes {left} do not end although they were sent {number.name}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        # The kernel takes a moment to remove them; nothing announces it.
        await asyncio.sleep(0.001 if number == signal.SIGKILL else 0.05)


async def _ended(machines: Sequence[Machine], seconds: float) -> bool:
    """Wait for supervisors to end; False when one still runs after ``seconds``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for machine in machines:
                await _exit_of(machine.process)
    return all(machine.process.poll() is not None for machine in machines)


async def _exit_of(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process without a thread, for none can be started any more while the interpreter ends."""
    if process.poll() is not None:
        return
    if sys.platform != "linux":
        while process.poll() is None:  # noqa: ASYNC110  nothing announces it there
            await asyncio.sleep(0.005)
        return
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.poll()


def find(pool_id: str | None, names: AbstractSet[str] | None = None) -> list[Mark]:
    """Find the processes of local machines: of one pool or of all, or of those with these names."""
    found: dict[tuple[str, str], Mark] = {}
    for pid, environment in _environments():
        node, pool = environment.get(_NODE), environment.get(_POOL)
        if node and pool and pool_id in (None, pool) and (names is None or node in names):
            mark = found.get((node, pool)) or _mark(node, pool, environment)
            found[node, pool] = evolve(mark, pids=(*mark.pids, pid))
    return list(found.values())


def _mark(node: str, pool: str, environment: Mapping[str, str]) -> Mark:
    deadline, folder = None, environment.get(_FOLDER, "")
    with contextlib.suppress(ValueError):  # it is empty for a machine that has none
        deadline = float(environment.get(_DEADLINE, ""))
    with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, _MOVED), encoding="ascii") as file:
        deadline = float(file.read())
    return Mark(node, pool, (), environment.get(_OWNER, ""), environment.get(_CLIENT, ""), deadline, folder)


def move_deadline(folder: str, deadline: float) -> None:
    """Have `find` tell another deadline of the machine in this folder; one that has ended is let be.

    Raises:
        OSError: the folder cannot be written to.
    """
    path = os.path.join(folder, _MOVED)
    with contextlib.suppress(FileNotFoundError):
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(repr(deadline))
        os.replace(f"{path}.new", path)


def _environments() -> Iterator[tuple[int, dict[str, str]]]:
    """The environment of each living process of this user, except this one."""
    if not os.path.isdir("/proc/self"):
        yield from _environments_by_psutil()
        return
    marker = f"{_NODE}=".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            data = _environment_of(entry)
            if marker in data:
                pairs = (item.partition("=") for item in data.decode(errors="replace").split("\0"))
                yield int(entry), {key: value for key, _, value in pairs}


def _environment_of(entry: str) -> bytes:
    """What a process was started with. Between the two halves of an `exec` it is empty for a moment."""
    for _ in range(5):
        with open(f"/proc/{entry}/environ", "rb") as file:
            data = file.read()
        if data:
            return data
        os.readlink(f"/proc/{entry}/exe")  # fails for a kernel's thread and for a zombie, which have none
        time.sleep(0.0005)
    return b""


def _environments_by_psutil() -> Iterator[tuple[int, dict[str, str]]]:
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid, process.environ()


def memory_here() -> int:
    """Bytes of memory of this machine."""
    import psutil

    return int(psutil.virtual_memory().total)


def accelerator_here() -> Accelerator | None:
    """The NVIDIA GPUs of this machine, by ``nvidia-ml-py`` where it is installed; ``None`` without."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)) if count else ""
    except Exception:  # noqa: BLE001  no library, no driver, no device: the library has many ways to say so
        return None
    if not count:
        return None
    return _named(name, count)


def _named(name: str, count: int) -> Accelerator | None:
    """The catalogue's accelerator for a driver's name such as ``NVIDIA H100 80GB HBM3``."""
    from skyward.errors import ConfigurationError
    from skyward.model.accelerator import Accelerator

    for word in name.replace("-", " ").split():
        with contextlib.suppress(ConfigurationError):
            found = Accelerator.parse(word)
            return Accelerator(name=found.name, count=count, memory=found.memory, vendor=found.vendor)
    return None
