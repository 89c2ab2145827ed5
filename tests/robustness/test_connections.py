"""Over connections that drop, each task runs once, its result arrives, and no line is lost."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward.worker import protocol

from .behind import noting, ran
from .conftest import PATIENCE
from .relay import Failing, Relay, cutting


@pytest.fixture
def failing(small: Callable[..., Any]) -> Any:
    relays: list[Relay] = []

    def make(plan: Any, **options: Any) -> tuple[Relay, Any]:
        relay = Relay(plan)
        relays.append(relay)
        return relay, small(provider=Failing(relay=relay), **options)

    yield make
    for relay in relays:
        relay.close()


@pytest.mark.parametrize("seed", range(12))
def test_each_task_runs_once_and_its_result_and_its_line_arrive(failing: Any, tmp_path: Path, seed: int) -> None:
    note = noting(tmp_path)
    relay, pool = failing(cutting(seed, (600, 6_000, 300_000), 6), concurrency=2)
    lines: list[str] = []
    with pool:
        pool.on(sky.LogLine, lambda event: lines.append(event.line))
        for size in (0, 100, 40_000):
            data = bytes([size % 251]) * size
            results = sky.gather(*(note(size + number, data) for number in range(20))) >> pool
            assert results == tuple((size + number, data) for number in range(20))
    assert relay.cuts > 0
    expected = sorted(size + number for size in (0, 100, 40_000) for number in range(20))
    assert ran(tmp_path) == expected
    assert sorted(lines) == sorted(f"line {number}" for number in expected)


@pytest.mark.parametrize("seed", range(3))
def test_large_arguments_and_results_survive_cuts_in_their_middle(failing: Any, tmp_path: Path, seed: int) -> None:
    note = noting(tmp_path)
    relay, pool = failing(cutting(seed, (64 << 20,), 4))
    data = secrets.token_bytes(1 << 20) * 64
    with pool:
        for number in range(2):
            assert note(number, data) >> pool == (number, data)
    assert relay.cuts > 0
    assert ran(tmp_path) == [0, 1]


def test_a_cut_while_a_task_runs_loses_neither_its_lines_nor_its_result(failing: Any, tmp_path: Path) -> None:
    relay, pool = failing(lambda _: (None, None))

    @sky.compute
    def talk() -> str:
        import time

        for number in range(1000):
            print("line", number)
            if number in (10, 500):
                (tmp_path / str(number)).touch()
                while (tmp_path / str(number)).exists():
                    time.sleep(0.001)
        return "done"

    lines: list[str] = []
    with pool:
        pool.on(sky.LogLine, lambda event: lines.append(event.line))
        running = pool.submit(talk())
        for number in (10, 500):
            while not (tmp_path / str(number)).exists():
                time.sleep(0.001)
            relay.cut("slot-0")
            (tmp_path / str(number)).unlink()
        assert running.result(PATIENCE) == "done"
    assert lines == [f"line {number}" for number in range(1000)]


def test_the_control_channel_is_rebuilt_and_what_it_had_to_say_is_said_again(failing: Any, tmp_path: Path) -> None:
    relay, pool = failing(lambda _: (None, None), concurrency=2)

    @sky.compute
    def die() -> None:
        import os

        (tmp_path / "dying").touch()
        while (tmp_path / "dying").exists():
            pass
        os._exit(3)

    @sky.compute
    def one() -> int:
        return 1

    with pool:
        for _ in range(4):
            dying = pool.submit(die())
            while not (tmp_path / "dying").exists():
                time.sleep(0.001)
            (tmp_path / "dying").unlink()
            relay.cut("control")  # while the death is being told
            error = dying.exception(PATIENCE)
            assert isinstance(error, sky.SlotDied), error
            assert error.exit_code == 3
            assert sky.gather(*(one() for _ in range(20))) >> pool == (1,) * 20


def test_a_cancellation_survives_the_loss_of_the_control_channel(failing: Any) -> None:
    import asyncio

    relay, pool = failing(lambda _: (None, None))

    @sky.compute
    def sleep() -> None:
        import time

        print("asleep")
        time.sleep(1000)

    @sky.compute
    def one() -> int:
        return 1

    async def main() -> None:
        async with pool:
            asleep = asyncio.Event()
            loop = asyncio.get_running_loop()
            pool.on(sky.LogLine, lambda _: loop.call_soon_threadsafe(asleep.set) and None)
            task = asyncio.create_task(pool.arun(sleep()))
            await asleep.wait()
            relay.cut("control")
            task.cancel()
            assert await asyncio.wait_for(pool.arun(one()), PATIENCE) == 1

    asyncio.run(main())


def test_tasks_that_are_taken_back_while_the_control_channel_drops_run_once(failing: Any, tmp_path: Path) -> None:
    relay, pool = failing(lambda _: (None, None), concurrency=2)

    @sky.compute
    def note(number: int) -> int:
        import secrets
        import time

        (tmp_path / f"{number}.{secrets.token_hex(4)}").touch()
        if number and not number % 10:
            time.sleep(0.02)
        return number

    with pool:
        for begin in range(0, 400, 40):
            futures = [pool.submit(note(number)) for number in range(begin, begin + 40)]
            relay.cut("control")
            assert [future.result(PATIENCE) for future in futures] == list(range(begin, begin + 40))
    assert ran(tmp_path) == list(range(400))


def _answer(path: Path, data: bytes) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        reader = protocol.FrameReader()
        frames: list[protocol.Frame] = []
        while not frames:
            count = connection.recv_into(reader.get_buffer())
            assert count, "closed without a word"
            frames = reader.advance(count)
    assert frames[0].kind == protocol.Kind.REFUSED
    return str(protocol.head_of(frames[0]))


def _header(**changes: int) -> bytes:
    fields = {"version": protocol.VERSION, "kind": protocol.Kind.HELLO, "head": 0, "count": 0, "body": 0} | changes
    values = (fields["version"], fields["kind"], 0, 0, 0, fields["head"], fields["count"], fields["body"])
    return struct.pack(protocol.HEADER.format, b"SKY", *values)


STRANGERS = {
    "garbage": (b"GET / HTTP/1.1\r\n\r\n" * 4, "does not speak Skyward's protocol"),
    "another version": (_header(version=99), "version 99"),
    "a wrong token": (_header(head=4) + b"open", "the token is not this node's"),
    "no greeting": (_header(kind=protocol.Kind.STOP), "the first frame is not a greeting"),
    "a greeting of 16 MiB": (_header(head=16 << 20), "the first frame is not a greeting"),
    "a greeting of 100 GiB": (_header(count=1, body=100 << 30), "the first frame is not a greeting"),
    "half a greeting": (_header(head=32)[:9], "ended before its greeting"),
}


@pytest.mark.parametrize("name", ["control", "slot-0"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_is_refused_with_the_reason_and_does_no_harm(open_pool: Any, name: str, stranger: str) -> None:
    pool, folder, one = open_pool
    data, reason = STRANGERS[stranger]
    assert reason in _answer(folder / f"{name}.sock", data)
    assert one() >> pool == 1


def test_the_sockets_are_for_this_user_alone(open_pool: Any) -> None:
    _, folder, _ = open_pool
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.glob("*.sock"):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture(scope="module")
def open_pool() -> Any:
    @sky.compute
    def one() -> int:
        return 1

    @sky.compute
    def folder() -> str:
        import os

        descriptors = [os.readlink(f"/proc/{os.getppid()}/fd/{n}") for n in (1, 2)]
        return os.path.dirname(descriptors[0])

    with sky.ComputePool(display="quiet") as pool:
        yield pool, Path(folder() >> pool), one
