"""Local machines as processes: starting a supervisor, finding what it started, and ending all of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import field, frozen

from skyward.worker.greeting import listen

if TYPE_CHECKING:
    from skyward.model.accelerator import Accelerator
    from skyward.spi.provider import PoolIdentity

__all__ = ["Machine", "Mark", "accelerator_here", "end", "find", "memory_here", "start"]

_NODE = "SKYWARD_NODE"
_POOL = "SKYWARD_POOL"
_OWNER = "SKYWARD_OWNER"
_DEADLINE = "SKYWARD_DEADLINE"
_PATIENCE = 2.0
"""Seconds that a supervisor may take to end itself before it is killed."""


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
        _DEADLINE: "" if identity.deadline is None else f"{identity.deadline:.0f}",
    }
    with listener, open(os.path.join(folder, "supervisor.log"), "wb") as log:
        process = subprocess.Popen(  # noqa: S603  our own interpreter, and nothing of the user's
            [sys.executable, "-P", "-m", "skyward.worker"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C in the terminal is the client's alone
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
    return Machine(name, folder, process)


def end(machine: Machine) -> None:
    """End a machine and prove that nothing of it is left. Idempotent."""
    process = machine.process
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # A task may have started processes in sessions of their own; they still bear the machine's name.
    while left := [pid for mark in find(None, machine.name) for pid in mark.pids]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)  # the kernel takes a moment to remove them; nothing announces it for other's children
    shutil.rmtree(machine.folder, ignore_errors=True)


def find(pool_id: str | None, name: str | None = None) -> list[Mark]:
    """Find the processes of local machines: of one pool or of all, or of one machine."""
    pids: dict[tuple[str, str], list[int]] = {}
    for pid, environment in _environments():
        node, pool = environment.get(_NODE), environment.get(_POOL)
        if node and pool and pool_id in (None, pool) and name in (None, node):
            pids.setdefault((node, pool), []).append(pid)
    return [Mark(node, pool, tuple(members)) for (node, pool), members in pids.items()]


def _environments() -> Iterator[tuple[int, dict[str, str]]]:
    """The environment of each living process of this user, except this one."""
    if not os.path.isdir("/proc/self"):
        yield from _environments_by_psutil()
        return
    marker = f"{_NODE}=".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
            data = file.read()
            if marker in data:
                pairs = (item.partition("=") for item in data.decode(errors="replace").split("\0"))
                yield int(entry), {key: value for key, _, value in pairs}


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
