"""A task that is cancelled is stopped, only that one, and the pool goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skyward as sky

STOPPED = """
    @sky.compute
    def work(how):
        import itertools, os, signal, time
        try:
            if how == "sleeps":
                print("at work", flush=True)
                time.sleep(1000)
            elif how == "swallows":
                words = ["at work"]
                while True:
                    try:
                        if words:
                            print(words.pop(), flush=True)
                        time.sleep(1000)
                    except KeyboardInterrupt:
                        pass
            elif how == "stays in C":  # from the writing of its line on
                sum(itertools.chain(map(os.write, [1], [b"at work\\n"]), range(10**12)))
            elif how == "blocks the signal":
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                print("at work", flush=True)
                while True:
                    time.sleep(1000)
        except KeyboardInterrupt:
            print("saw the interrupt", flush=True)
            raise
        finally:
            print("finally", flush=True)

    @sky.compute
    def double(x):
        return 2 * x

    def notice(event):
        if isinstance(event, sky.LogLine):
            say(event.line)

    with pool(on_event=notice, lease=5) as p:
        try:
            work(HOW) >> p
        except KeyboardInterrupt:
            say("caught")
        say("then", double(21) >> p)
"""


def test_ctrl_c_stops_the_remote_task_and_leaves_the_pool_usable(client: Callable[..., Any]) -> None:
    program = client(STOPPED.replace("HOW", "'sleeps'"))
    program.hear("at work")
    program.signal(signal.SIGINT)
    program.hear("caught")
    assert program.hear("then") == "42"
    assert program.end() == 0
    assert program.heard == ["at work", "saw the interrupt", "finally", "caught", "then 42"]


@pytest.mark.parametrize("how", ["swallows", "stays in C", "blocks the signal"])
def test_a_task_that_does_not_react_is_killed_after_a_grace(client: Callable[..., Any], how: str) -> None:
    program = client(STOPPED.replace("HOW", repr(how)))
    program.hear("at work")
    program.signal(signal.SIGINT)
    program.hear("caught")
    assert program.hear("then") == "42"
    assert program.end() == 0
    assert "finally" not in program.heard


def gate(folder: Path) -> Any:
    @sky.compute
    def wait(name: str) -> str:
        import time

        (folder / f"{name}.began").touch()
        while not (folder / "go").exists():
            time.sleep(0.001)
        return name

    return wait


def test_a_task_that_waits_or_was_sent_ahead_is_cancelled_without_running(
    small: Callable[..., Any], tmp_path: Path
) -> None:
    wait = gate(tmp_path)

    async def main() -> None:
        async with small() as pool:
            first = asyncio.create_task(pool.arun(wait("first")))
            while not (tmp_path / "first.began").exists():  # noqa: ASYNC110  a file wakes nobody
                await asyncio.sleep(0.001)
            others = [asyncio.create_task(pool.arun(wait(f"other{number}"))) for number in range(5)]
            await asyncio.sleep(0)
            for other in others:
                other.cancel()
            ended = await asyncio.gather(*others, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in ended)
            (tmp_path / "go").touch()
            assert await first == "first"
            assert await pool.arun(wait("last")) == "last"

    asyncio.run(main())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.began", "go", "last.began"]


def test_a_late_interrupt_never_strikes_the_task_behind(small: Callable[..., Any]) -> None:
    @sky.compute
    def quick(number: int) -> int:
        total = 0
        for each in range(number % 50 * 20):
            total += each
        print(end="")
        return number

    async def main() -> None:
        async with small(concurrency=2) as pool:
            kept: list[asyncio.Task[int]] = []
            dropped: list[asyncio.Task[int]] = []
            for number in range(600):
                task = asyncio.create_task(pool.arun(quick(number)))
                (dropped if number % 2 else kept).append(task)
                if number % 2:
                    await asyncio.sleep(number % 5 * 0.0002)
                    task.cancel()
            results = await asyncio.gather(*kept)
            assert results == list(range(0, 600, 2))
            for error in await asyncio.gather(*dropped, return_exceptions=True):
                assert isinstance(error, (int, asyncio.CancelledError))

    asyncio.run(main())


def test_what_a_task_has_done_to_the_signal_does_not_protect_the_next_one(client: Callable[..., Any]) -> None:
    program = client(
        """
        @sky.compute
        def hide():
            import signal
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        @sky.compute
        def work():
            try:
                print("at work", flush=True)
                time.sleep(1000)
            finally:
                print("finally", flush=True)
        with pool(on_event=lambda event: isinstance(event, sky.LogLine) and say(event.line) or None, lease=5) as p:
            hide() >> p
            try:
                work() >> p
            except KeyboardInterrupt:
                say("caught")
        """
    )
    program.hear("at work")
    program.signal(signal.SIGINT)
    program.hear("caught")
    assert program.end() == 0
    assert "finally" in program.heard
