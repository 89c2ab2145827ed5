"""Where the machines of all vendors stand: one network of containers for a run of the tests."""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import rig.server
from rig.machines import Machines, abandoned, folder_of

__all__ = ["Yard", "free_address"]

_REGION = "vendors"


class Yard:
    """Containers, and their addresses; made when the first is asked for.

    Whatever is left is removed by a process that outlives this one, and else by the next run.
    """

    def __init__(self) -> None:
        for label in abandoned():
            rig.server.sweep(label)
            shutil.rmtree(folder_of(label), ignore_errors=True)
        self.machines = Machines()
        self._sweeper = subprocess.Popen(
            [sys.executable, "-P", rig.server.__file__, str(self.machines.folder), self.machines.label, "--sweep-only"],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests
        )
        self._lock = threading.Lock()
        self._address = ""
        self._count = 0

    @property
    def address(self) -> str:
        """An address of this machine that containers reach too."""
        with self._lock:
            if not self._address:
                self._address = self.machines.gateway(_REGION)
            return self._address

    def start(self, name: str, public: str, **more: object) -> object:
        """Start a container, with an address of its own in the network; see `Machines.start`."""
        with self._lock:
            number, self._count = self._count, self._count + 1
        private = f"{self.machines.prefix(_REGION)}{16 + number // 200}.{10 + number % 200}"
        return self.machines.start(name, _REGION, (public, private), metadata={}, **more)

    def close(self) -> None:
        """Remove everything."""
        self.machines.close()
        with contextlib.suppress(BrokenPipeError):
            self._sweeper.communicate(timeout=60)


def free_address(port: int) -> str:
    """A loopback address at which nobody has this port."""
    while True:
        address = f"127.78.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as problem:
                if problem.errno == errno.EADDRINUSE:
                    continue
            return address


def text_inside(name: str) -> str:
    """A program of those that run in containers."""
    return (Path(__file__).parent / "inside" / name).read_text()
