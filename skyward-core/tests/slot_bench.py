"""What the tests of the client's view of a slot share: doubles of the dispatcher and of the wire."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from skyward._slot import SlotClient
from skyward.worker.protocol import Frame, FrameReader, Kind, encode


class Wire:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        self.frames: list[Frame] = []
        self.closed = False

    def send(self, parts: Sequence[Any]) -> None:
        data = memoryview(b"".join(parts))
        while data:
            room = self._reader.get_buffer()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.frames += self._reader.advance(count)
            data = data[count:]

    def close(self) -> None:
        self.closed = True

    @property
    def tasks(self) -> list[int]:
        return [frame.number for frame in self.frames if frame.kind == Kind.TASK]

    @property
    def kinds(self) -> list[int]:
        return [frame.kind for frame in self.frames]


class Dispatcher:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.said: list[tuple[Any, ...]] = []

    def slot_up(self, slot: SlotClient) -> None:
        self.said.append(("up",))

    def slot_away(self, slot: SlotClient) -> None:
        self.said.append(("away",))

    def slot_back(self, slot: SlotClient) -> None:
        self.said.append(("back",))

    def slot_died(self, key: Any, facts: Any, *, running: Any, unstarted: Any, unknown: Any) -> None:
        groups = [tuple(task.number for task in group) for group in (running, unstarted, unknown)]
        self.said.append(("died", facts["generation"], *groups))

    def unknown(self, key: Any, task: Any) -> None:
        self.said.append(("unknown", task.number))

    def reconnect(self, slot: SlotClient, error: Any) -> None:
        self.said.append(("reconnect",))

    def later(self, seconds: float, function: Any) -> None:
        self.said.append(("later",))
        self.limit = function

    def ended(self, slot: SlotClient, sequence: int, frame: Frame, seconds: float, how: int) -> None:
        task = slot.release(sequence)
        if task is not None:
            self.said.append(("ended", task.number))

    def logged(self, node: int, number: int, head: Any) -> None:
        self.said.append(("line", head[0]))


class Bench:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.slot = SlotClient((0, 0), self.dispatcher)  # type: ignore[arg-type]

    def connect(self, generation: int = 1, **holdings: Any) -> tuple[Any, Wire]:
        connection, wire = self.slot.connection(), Wire()
        connection.attach(wire)
        self.welcome(connection, generation, **holdings)
        return connection, wire

    def welcome(self, connection: Any, generation: int = 1, **changes: Any) -> None:
        holdings: dict[str, Any] = {"generation": generation, "started": 0, "running": 0, "recalled": [], "done": []}
        holdings |= {"functions": [], "modules": []} | changes
        connection.on_frame(frame(Kind.WELCOME, holdings))

    def send(self, *numbers: int, ahead: bool = False) -> None:
        for number in numbers:
            self.slot.send(task(number), ahead=ahead)

    def dies(self, generation: int, running: int = 0, started: int = 0, recalled: Sequence[int] = ()) -> None:
        facts = {"generation": generation, "running": running, "started": started, "recalled": list(recalled)}
        self.slot.died(facts)

    @property
    def said(self) -> list[tuple[Any, ...]]:
        said, self.dispatcher.said = self.dispatcher.said, []
        return said


def frame(kind: int, head: object, number: int = 0, buffers: Sequence[Any] = ()) -> Frame:
    wire = Wire()
    wire.send(encode(kind, number, head, buffers, raw_head=head if isinstance(head, bytes) else None))
    return wire.frames[0]


def task(number: int, function: bytes = b"f" * 16) -> Any:
    payload = SimpleNamespace(data=b"arguments", buffers=[], shared=None)
    bundle = SimpleNamespace(modules=(), digest=b"")
    encoded = SimpleNamespace(digest=function, payload=SimpleNamespace(data=b"function", buffers=[]))
    return SimpleNamespace(number=number, payload=payload, encoded=encoded, bundle=bundle, cancelled=False, team=None)
