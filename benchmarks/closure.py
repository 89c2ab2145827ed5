"""A function that captures 10 MiB, called a hundred times."""

from __future__ import annotations

import os
import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

from benchmarks._measure import Table, duration, interleaved, ratio, seconds
from benchmarks.peers import WORKERS, Contender, Floor, Loky, Ray, Skyward, warm

SIZE = 10 << 20


def capturing(value: Any) -> Callable[[int], int]:
    """A function that needs ``value``."""

    def measured(number: int) -> int:
        return len(value) + number

    return measured


class Counter:
    """Counts the bytes that Skyward's links are given to send, while the block is open."""

    def __enter__(self) -> Self:
        from skyward._reactor import SocketLink

        self.sent = 0
        self._link: Any = cast("Any", SocketLink)
        self._send: Any = SocketLink.send

        def send(link: Any, parts: Sequence[Any]) -> None:
            self.sent += sum(memoryview(part).nbytes for part in parts)
            self._send(link, parts)

        self._link.send = send
        return self

    def __exit__(self, *_: object) -> None:
        self._link.send = self._send


def calls(contender: Contender, function: Callable[[int], int], count: int) -> None:
    """Call it so many times."""
    for number in range(count):
        assert contender.call(function, number) == SIZE + number


def measure(*, quick: bool) -> Table:
    """Time of all calls, the first included, and how often the 10 MiB went over the wire to each slot."""
    count = 20 if quick else 100
    kinds: list[type[Contender]] = [Floor, Skyward, Loky] + ([] if quick else [Ray])
    running = {kind.name: kind() for kind in kinds if not kind.missing()}
    copies: dict[str, list[float]] = {"bytes": [], "array": []}
    kept: list[object] = []  # so that no two functions get one and the same id

    def one(contender: Contender, make: Callable[[], Any], captured: str) -> float:
        function = capturing(make())  # never the same bytes, or they would have been sent before
        kept.append(function)
        with Counter() as counter, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of 10 MiB that travel along: they are meant to
            taken = seconds(lambda: calls(contender, function, count))
        if isinstance(contender, Skyward):
            copies[captured].append(counter.sent / SIZE / WORKERS)
        return taken

    try:
        for contender in running.values():
            warm(contender)
        asked: dict[str, Callable[[], float]] = {
            name: lambda contender=contender: one(contender, lambda: os.urandom(SIZE), "bytes")  # type: ignore[misc]
            for name, contender in running.items()
        }
        mutable = f"{Skyward.name}, a bytearray"
        asked[mutable] = lambda: one(running[Skyward.name], lambda: bytearray(os.urandom(SIZE)), "array")
        figures = interleaved(asked, 3)
    finally:
        for contender in running.values():
            contender.close()
    times = {name: statistics.median(taken) for name, taken in figures.items()}
    sent = {Skyward.name: copies["bytes"], mutable: copies["array"]}
    rows = [
        (
            name,
            duration(taken),
            ratio(taken, times[Floor.name]),
            f"{statistics.median(sent[name]):.3f}" if name in sent else "",
        )
        for name, taken in times.items()
    ]
    notes = [
        "Sent: bytes given to the links, the arguments' and all others counted, in multiples of 10 MiB and per slot.",
        "A bytearray may change between two calls, so Skyward compares it with what it has sent before.",
    ]
    return Table(f"A closure over 10 MiB, called {count} times", ("", "time", "to the floor", "sent"), rows, notes)
