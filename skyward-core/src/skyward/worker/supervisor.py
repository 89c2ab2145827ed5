"""The one process of a node that keeps the lease, the slots and the metrics, and answers the client's control channel.

It is single-threaded, so that it may fork at any time. It ends the node when the client says so, when the lease runs
out (no word from the client for too long) or at the deadline: then no process, socket or folder of the node is left.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from skyward.worker.becoming import become
from skyward.worker.context import ClusterContext
from skyward.worker.control import ControlPeer
from skyward.worker.family import adopt_orphans, end_all, remove_folder, run_last
from skyward.worker.lease import Lease
from skyward.worker.lookout import Lookout
from skyward.worker.protocol import Frame, Kind, head_of
from skyward.worker.raw import FLUSH, Output
from skyward.worker.slots import SlotProcess

__all__ = ["Supervisor"]

_GRACE = 3.0
"""Seconds that a cancelled task has to react to its interrupt before its process is killed."""
_METRICS_EVERY = 2.0
_FIRST_METRICS = 0.25
_KEPT_LINES = 1000
"""Lines of raw output kept while no client is connected; of more than that the oldest are dropped."""
_PAUSE = 0.05
"""Seconds before a slot that could not even start is started again; doubled each time."""
_FAILED_STARTS = 5
"""As many in a row end the node, with the reason."""


class Supervisor:
    """Runs a node until it is told to stop.

    Args:
        listener: listening Unix socket of the control channel.
        directory: the node's private folder, removed at the end.
        token: what a client must show.
        lease: seconds without a word from the client after which the node ends; ``None`` for no lease.
        lifetime: seconds until the deadline; ``None`` for no deadline.
        became: the interpreter that this process was already told to go on under.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        directory: str,
        token: bytes,
        lease: float | None,
        lifetime: float | None,
        became: str | None = None,
    ) -> None:
        now = time.monotonic()
        self._listener = listener
        listener.set_inheritable(False)
        self._directory = directory
        self._token = token
        self._lease = Lease(lease, now)
        self._deadline = None if lifetime is None else now + lifetime
        self._python = {None, sys.executable, became}
        self._peer: ControlPeer | None = None
        self._slots: list[SlotProcess] = []
        self._configuration: dict[str, Any] = {}
        self._kill_at: dict[tuple[int, int], float] = {}  # (slot, sequence) -> when the cancelled task is killed
        self._start_at: dict[int, float] = {}  # slot -> when it is started again
        self._deaths: deque[dict[str, Any]] = deque(maxlen=256)  # told again to a client that comes back
        self._unsent: deque[tuple[int, tuple[str, str, float, int, int]]] = deque(maxlen=_KEPT_LINES)
        self._metrics_at: float | None = None
        self._first_metrics_at: float | None = None
        self._partitions: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._lookout = Lookout(self._selector, lambda notice: self._send(Kind.NOTICE, notice))
        self._ending = ""

    def run(self) -> None:
        """Serve until the end, then leave nothing behind."""
        wake_read, wake_write = os.pipe()
        for descriptor in (wake_read, wake_write):
            os.set_blocking(descriptor, False)
        self._own = (wake_read, wake_write)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(FLUSH, lambda *_: None)
        signal.signal(signal.SIGTERM, self._terminated)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        adopt_orphans()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: self._woken(wake_read))
        try:
            while not self._ending:
                ready = self._selector.select(self._until_next())
                self._lease.look(time.monotonic())
                for key, _ in ready:
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
        self._lease.renew(time.monotonic())
        self._selector.register(peer.socket, selectors.EVENT_READ, lambda: self._read(peer))
        self._handle(peer.waiting())

    def _welcome(self) -> dict[str, object]:
        slots = {slot.index: slot.generation for slot in self._slots if slot.pid}
        return {"pid": os.getpid(), "configured": bool(self._configuration), "slots": slots, "python": sys.executable}

    def _read(self, peer: ControlPeer) -> None:
        if self._peer is not peer:  # let go of in this very round
            return
        frames = peer.read()
        if frames is None:
            self._forget_peer()
        else:
            self._handle(frames)

    def _forget_peer(self) -> None:
        if self._peer is not None:
            self._selector.unregister(self._peer.socket)
            self._peer.close()
            self._peer = None

    def _send(self, kind: Kind, head: object, number: int = 0) -> bool:
        if self._peer is None:
            return False
        if self._peer.send(kind, head, number):
            return True
        self._forget_peer()
        return False

    def _handle(self, frames: list[Frame]) -> None:
        if frames:
            self._lease.renew(time.monotonic())
        for frame in frames:
            try:
                self._obey(frame)
            except Exception as error:  # noqa: BLE001  whatever a frame does to us, the slots go on
                self._send(Kind.REFUSED, f"a frame of kind {frame.kind} cannot be followed: {error!r}")
                self._forget_peer()
                return

    def _obey(self, frame: Frame) -> None:
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
            for facts in self._deaths:
                self._send(Kind.SLOT_DOWN, facts)
            for slot in self._slots:
                if slot.pid:
                    self._send(Kind.SLOT_UP, (slot.index, slot.generation))
            while self._unsent and self._send(Kind.LOG, self._unsent[0][1], self._unsent[0][0]):
                self._unsent.popleft()
            self._lookout.tell_again()
            return
        if configuration["python"] not in self._python:
            become(
                configuration,
                token=self._token,
                directory=self._directory,
                listener=self._listener.fileno(),
                lease=self._lease.seconds,
                lifetime=None if self._deadline is None else self._deadline - time.monotonic(),
            )
        self._configuration = configuration
        sys.path[:0] = [folder for folder in configuration.get("front", []) if folder not in sys.path]
        sys.path.extend(folder for folder in configuration.get("back", []) if folder not in sys.path)
        os.environ.update(configuration["environment"])
        for index in range(configuration["slots"]):
            slot = SlotProcess(index, self._directory, self._token, configuration.get("preload", ()))
            self._slots.append(slot)
            self._start(slot)
        if configuration["metrics"]:
            self._metrics_at = self._first_metrics_at = time.monotonic() + _FIRST_METRICS
        self._lookout.begin(configuration.get("lookout"), self._directory)

    def _start(self, slot: SlotProcess) -> None:
        cluster = ClusterContext(**self._configuration["cluster"], worker=slot.index)
        slot.start(cluster, self._device_of(slot.index), lambda: self._leave_to_slot(slot))
        for output in slot.outputs:
            self._selector.register(output.descriptor, selectors.EVENT_READ, self._reader_of(slot, output))
        self._send(Kind.SLOT_UP, (slot.index, slot.generation))

    def _device_of(self, index: int) -> dict[str, str]:
        """A slot's own part of a partitioned GPU, where the pool asked for partitions (MIG)."""
        if not self._configuration.get("mig"):
            return {}
        from skyward.worker import devices

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
        self._lookout.close_inherited()
        for slot in self._slots:
            if slot is not child:
                slot.close_inherited()

    def _cancel(self, index: int, sequence: int) -> None:
        if self._slots[index].interrupt(sequence):
            self._kill_at.setdefault((index, sequence), time.monotonic() + _GRACE)

    # what the slots do

    def _reader_of(self, slot: SlotProcess, output: Output) -> Callable[[], None]:
        """Forward what is written to descriptors 1 and 2 past Python: by C code, by subprocesses, by a crash."""

        def read() -> None:
            if output not in slot.outputs:  # closed in this very round
                return
            slot.page.raw = True
            lines, open_still, _ = output.read()
            self._forward(slot, output, lines)
            if not open_still:
                self._close(slot, output)
            slot.page.raw = any(other.pending for other in slot.outputs)

        return read

    def _forward(self, slot: SlotProcess, output: Output, lines: list[str]) -> None:
        for line in lines:
            slot.page.raw_lines += 1
            said = (slot.page.task, (line, output.stream, time.time(), slot.index, slot.page.raw_lines))
            if not self._send(Kind.LOG, said[1], said[0]):
                self._unsent.append(said)

    def _flush(self, slot: SlotProcess) -> None:
        """A task has ended: forward what it has written, whole lines or not."""
        for output in slot.outputs:
            self._forward(slot, output, output.rest())
        slot.page.raw = slot.page.flush = False

    def _close(self, slot: SlotProcess, output: Output) -> None:
        self._selector.unregister(output.descriptor)
        output.close()
        slot.outputs.remove(output)

    def _woken(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        for slot in self._slots:
            if slot.page.flush:
                self._flush(slot)
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
        slot.end_group()
        for output in list(slot.outputs):
            self._forward(slot, output, output.rest())
            self._close(slot, output)  # a subprocess of the task may hold the other end open for ever
        facts = slot.reap(status)
        self._deaths.append(facts)
        self._send(Kind.SLOT_DOWN, facts)
        if slot.failed_starts >= _FAILED_STARTS:
            how = f"signal {facts['signal']}" if facts["signal"] else f"exit code {facts['exit_code']}"
            self._ending = f"slot {slot.index} cannot be started: its process ends at once ({how})"
        elif slot.failed_starts > 1:
            self._start_at[slot.index] = time.monotonic() + _PAUSE * 2**slot.failed_starts
        elif not self._ending:
            self._start(slot)

    # what time does

    def _times(self) -> list[float]:
        times = [*self._kill_at.values(), *self._start_at.values()]
        if self._deadline is not None:
            times.append(self._deadline)
        if (look := self._lease.next_look()) is not None:
            times.append(look)
        if self._metrics_at is not None:
            times.append(self._metrics_at)
        if self._lookout.start_at is not None:
            times.append(self._lookout.start_at)
        return times

    def _until_next(self) -> float | None:
        times = self._times()
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _on_time(self) -> None:
        now = time.monotonic()
        for (index, sequence), when in list(self._kill_at.items()):
            page = self._slots[index].page
            if page.running != sequence and page.started >= sequence:
                del self._kill_at[index, sequence]
            elif when <= now:
                del self._kill_at[index, sequence]
                self._slots[index].kill_task(sequence)
        for index, when in list(self._start_at.items()):
            if when <= now:
                del self._start_at[index]
                self._start(self._slots[index])
        if self._metrics_at is not None and self._metrics_at <= now:
            self._measure(now)
        self._lookout.on_time(now)
        if self._deadline is not None and self._deadline <= now:
            self._ending = "deadline"
        elif self._lease.is_over(now):
            self._ending = "lease"

    def _measure(self, now: float) -> None:
        from skyward.worker import metrics  # takes its time to load, so not while somebody waits for the node

        if self._metrics_at == self._first_metrics_at:
            metrics.prime()  # the first CPU figure is measured against this moment
        else:
            self._send(Kind.METRICS, metrics.sample())
        self._metrics_at = now + _METRICS_EVERY
        for slot in self._slots:
            slot.note_kills()

    def _end(self) -> None:
        """Kill what runs, remove the folder, and say goodbye."""
        for slot in self._slots:
            slot.kill("ended")
        for slot in self._slots:
            if slot.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(slot.pid, 0)
        end_all()  # what tasks have started, in whatever session
        run_last()
        remove_folder(self._directory)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self._directory))  # the pool's folder, once its last node has gone
        if self._ending == "lease":  # nobody may hear the goodbye; the log tells a client that comes back
            with contextlib.suppress(OSError):
                os.write(
                    2, f"it heard nothing from its client for {self._lease.seconds:g} s: its lease ran out\n".encode()
                )
        self._send(Kind.GOODBYE, (self._ending or "failed",))
