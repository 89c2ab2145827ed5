"""The one process of a node that keeps the lease, the slots and the metrics, and answers the client's control channel.

It is single-threaded, so that it may fork at any time. It ends the node when the client says so, when the lease runs
out (no word from the client for too long) or at the deadline: then no process, socket or folder of the node is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from typing import Any

from skyward.worker import devices, metrics
from skyward.worker.context import ClusterContext
from skyward.worker.control import ControlPeer
from skyward.worker.protocol import Frame, Kind, head_of
from skyward.worker.slots import SlotProcess

__all__ = ["Supervisor"]

_GRACE = 3.0
"""Seconds that a cancelled task has to react to its interrupt before its process is killed."""
_METRICS_EVERY = 2.0


class Supervisor:
    """Runs a node until it is told to stop.

    Args:
        listener: listening Unix socket of the control channel.
        directory: the node's private folder, removed at the end.
        token: what a client must show.
        lease: seconds without a word from the client after which the node ends; ``None`` for no lease.
        lifetime: seconds until the deadline; ``None`` for no deadline.
    """

    def __init__(
        self, listener: socket.socket, directory: str, token: bytes, lease: float | None, lifetime: float | None
    ) -> None:
        now = time.monotonic()
        self._listener = listener
        self._directory = directory
        self._token = token
        self._lease = lease
        self._heard = now
        self._deadline = None if lifetime is None else now + lifetime
        self._peer: ControlPeer | None = None
        self._slots: list[SlotProcess] = []
        self._configuration: dict[str, Any] = {}
        self._kill_at: dict[tuple[int, int], float] = {}  # (slot, sequence) -> when the cancelled task is killed
        self._metrics_at: float | None = None
        self._partitions: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._ending = ""

    def run(self) -> None:
        """Serve until the end, then leave nothing behind."""
        wake_read, wake_write = os.pipe()
        for descriptor in (wake_read, wake_write):
            os.set_blocking(descriptor, False)
        self._own = (wake_read, wake_write)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._terminated)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: self._woken(wake_read))
        try:
            while not self._ending:
                for key, _ in self._selector.select(self._until_next()):
                    key.data()
                self._on_time()
        finally:
            self._end()

    def _terminated(self, *_: object) -> None:
        self._ending = "terminated by a signal"

    # what the client says

    def _accept(self) -> None:
        peer = ControlPeer.accept(self._listener, self._token, self._welcome())
        if peer is None:
            return
        self._forget_peer()
        self._peer = peer
        self._heard = time.monotonic()
        self._selector.register(peer.socket, selectors.EVENT_READ, self._read)
        self._handle(peer.waiting())

    def _welcome(self) -> dict[str, object]:
        slots = {slot.index: slot.generation for slot in self._slots if slot.pid}
        return {"pid": os.getpid(), "configured": bool(self._configuration), "slots": slots, "python": sys.executable}

    def _read(self) -> None:
        assert self._peer is not None
        frames = self._peer.read()
        if frames is None:
            self._forget_peer()
        else:
            self._handle(frames)

    def _forget_peer(self) -> None:
        if self._peer is not None:
            self._selector.unregister(self._peer.socket)
            self._peer.close()
            self._peer = None

    def _send(self, kind: Kind, head: object, number: int = 0) -> None:
        if self._peer is not None and not self._peer.send(kind, head, number):
            self._forget_peer()

    def _handle(self, frames: list[Frame]) -> None:
        if frames:
            self._heard = time.monotonic()
        for frame in frames:
            match frame.kind:
                case Kind.PING:
                    self._send(Kind.PONG, None)
                case Kind.CONFIGURE:
                    self._configure(head_of(frame))
                case Kind.CANCEL:
                    self._cancel(*head_of(frame))
                case Kind.RECALL:
                    slot, sequence = head_of(frame)
                    self._send(Kind.RECALLED, (slot, sequence, self._slots[slot].page.recall(sequence)))
                case Kind.EXTEND:
                    (seconds,) = head_of(frame)
                    self._deadline = None if seconds is None else time.monotonic() + seconds
                case Kind.STOP:
                    self._ending = "stopped by the client"

    def _configure(self, configuration: dict[str, Any]) -> None:
        """Start the slots, once; said again by a client that has lost the answer, it changes nothing."""
        if self._configuration:
            for slot in self._slots:
                if slot.pid:
                    self._send(Kind.SLOT_UP, (slot.index, slot.generation))
            return
        self._configuration = configuration
        if configuration["python"] not in (None, sys.executable):
            self._become(configuration["python"])
        sys.path[:0] = configuration.get("front", [])
        sys.path.extend(configuration.get("back", []))
        os.environ.update(configuration["environment"])
        for index in range(configuration["slots"]):
            slot = SlotProcess(index, self._directory, self._token)
            self._slots.append(slot)
            self._start(slot)
        if configuration["metrics"]:  # after the slots: psutil takes its time to import, and they have no use for it
            metrics.prime()  # the first CPU figure is measured against this moment
            self._metrics_at = time.monotonic() + _METRICS_EVERY

    def _become(self, python: str) -> None:
        """Go on as a supervisor under another interpreter: same process, same socket, same deadline.

        The client sees its connection end, connects again and sends the configuration once more.
        """
        settings = {
            "token": self._token.hex(),
            "directory": self._directory,
            "listener": self._listener.fileno(),
            "lease": self._lease,
            "lifetime": None if self._deadline is None else self._deadline - time.monotonic(),
        }
        read, write = os.pipe()
        os.write(write, json.dumps(settings).encode() + b"\n")
        os.close(write)
        os.dup2(read, 0)
        os.set_inheritable(self._listener.fileno(), True)
        front = self._configuration.get("front", [])
        program = f"import sys; sys.path[:0] = {front!r}; from skyward.worker.__main__ import main; main()"
        os.execv(python, [python, "-P", "-c", program])  # noqa: S606  the interpreter that the client names

    def _start(self, slot: SlotProcess) -> None:
        cluster = ClusterContext(**self._configuration["cluster"], worker=slot.index)
        slot.start(cluster, self._device_of(slot.index), lambda: self._leave_to_slot(slot))
        self._selector.register(slot.output, selectors.EVENT_READ, lambda: self._output(slot))
        self._send(Kind.SLOT_UP, (slot.index, slot.generation))

    def _device_of(self, index: int) -> dict[str, str]:
        """A slot's own part of a partitioned GPU, where the pool asked for partitions (MIG)."""
        if not self._configuration.get("mig"):
            return {}
        if not self._partitions:
            self._partitions = devices.mig_partitions()
        if not self._partitions:
            self._ending = "the pool asks for MIG partitions and this machine has none: set them up, or leave mig out"
            return {}
        return {"CUDA_VISIBLE_DEVICES": self._partitions[index % len(self._partitions)]}

    def _leave_to_slot(self, child: SlotProcess) -> None:
        """In a freshly forked slot: close every descriptor of the supervisor's own."""
        self._selector.close()
        self._listener.close()
        if self._peer is not None:
            self._peer.close()
        for descriptor in self._own:
            os.close(descriptor)
        for slot in self._slots:
            if slot is not child:
                slot.close_inherited()

    def _cancel(self, index: int, sequence: int) -> None:
        if self._slots[index].interrupt(sequence):
            self._kill_at[index, sequence] = time.monotonic() + _GRACE

    # what the slots do

    def _output(self, slot: SlotProcess) -> None:
        """Forward what was written to descriptors 1 and 2 past Python: by C code, by subprocesses, by a crash."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(slot.output, 1 << 16)
            for line in slot.lines.feed(data) if data else slot.lines.flush():
                self._send(Kind.LOG, (line, "stdout", time.time(), slot.index))
            if not data:
                self._selector.unregister(slot.output)
                os.close(slot.output)
                slot.output = -1

    def _woken(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for slot in self._slots:
                if slot.pid == pid:
                    self._died(slot, status)

    def _died(self, slot: SlotProcess, status: int) -> None:
        while slot.output >= 0 and self._has_output(slot):
            self._output(slot)
        if slot.output >= 0:  # a subprocess of the task may hold the other end open for ever
            self._selector.unregister(slot.output)
            os.close(slot.output)
            slot.output = -1
        self._send(Kind.SLOT_DOWN, slot.reap(status))
        if not self._ending:
            self._start(slot)

    @staticmethod
    def _has_output(slot: SlotProcess) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(slot.output, selectors.EVENT_READ)
            return bool(selector.select(0))

    # what time does

    def _times(self) -> list[float]:
        times = list(self._kill_at.values())
        if self._deadline is not None:
            times.append(self._deadline)
        if self._lease is not None:
            times.append(self._heard + self._lease)
        if self._metrics_at is not None:
            times.append(self._metrics_at)
        return times

    def _until_next(self) -> float | None:
        times = self._times()
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _on_time(self) -> None:
        now = time.monotonic()
        for (index, sequence), when in list(self._kill_at.items()):
            slot = self._slots[index]
            if slot.page.running != sequence:
                del self._kill_at[index, sequence]
            elif when <= now:
                del self._kill_at[index, sequence]
                slot.kill("cancelled")
        if self._metrics_at is not None and self._metrics_at <= now:
            self._metrics_at = now + _METRICS_EVERY
            self._send(Kind.METRICS, metrics.sample())
        if self._deadline is not None and self._deadline <= now:
            self._ending = "deadline"
        elif self._lease is not None and self._heard + self._lease <= now:
            self._ending = "lease"

    def _end(self) -> None:
        """Kill what runs, remove the folder, and say goodbye."""
        for slot in self._slots:
            slot.kill("ended")
        for slot in self._slots:
            if slot.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(slot.pid, 0)
        shutil.rmtree(self._directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self._directory))  # the pool's folder, once its last node has gone
        self._send(Kind.GOODBYE, (self._ending or "failed",))
