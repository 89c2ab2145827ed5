"""The asyncio loop that the reactor turns with its sockets."""

from __future__ import annotations

import _thread
import asyncio
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from reactor_ear import reactor as reactor

from skyward import _interrupts
from skyward._interrupts import shield
from skyward._reactor import Reactor


@pytest.fixture
def handlers() -> Iterator[None]:
    """As while a pool is open: signals are put off inside the shield."""
    _interrupts.install()
    _interrupts.hold()
    yield
    _interrupts.release()


async def echo(near: socket.socket, said: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(sock=near)
    writer.write(said)
    got = await reader.readexactly(len(said))
    writer.close()
    await writer.wait_closed()
    return got


def answer(far: socket.socket) -> threading.Thread:
    def work() -> None:
        with far:
            far.settimeout(60)
            while data := far.recv(1 << 16):
                far.sendall(data)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_coroutines_with_sockets_timers_and_threads_run_there(reactor: Reactor) -> None:
    near, far = socket.socketpair()
    thread = answer(far)

    async def work() -> tuple[bytes, int]:
        await asyncio.sleep(0.001)
        return await echo(near, bytes(1 << 20)), await asyncio.to_thread(os.getpid)

    assert asyncio.run(reactor.run(work())) == (bytes(1 << 20), os.getpid())
    thread.join(30)


def test_failures_arrive_as_themselves(reactor: Reactor) -> None:
    async def fail() -> None:
        raise KeyError("this")

    with pytest.raises(KeyError, match="this"):
        asyncio.run(reactor.run(fail()))


def test_a_cancellation_is_passed_on_and_its_end_waited_for(reactor: Reactor) -> None:
    begun, seen = threading.Event(), list[str]()

    async def stubborn() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            seen.append("cleaned up")

    async def main() -> None:
        task = asyncio.ensure_future(reactor.run(stubborn()))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cleaned up"]

    asyncio.run(main())


def test_a_caller_that_waits_turns_it_on_its_own_thread(reactor: Reactor, handlers: None) -> None:
    """What runs between two calls runs on the thread of whoever waits, once the reactor's own has made room."""
    threads = set[int]()
    waiting = list[None]()
    reactor.busy = waiting.__len__  # as the dispatcher does: its thread makes no room while a call is out

    def call() -> None:
        done = _thread.allocate_lock()
        done.acquire()
        waiting.append(None)

        async def work() -> None:
            await asyncio.sleep(0)
            threads.add(threading.get_ident())
            waiting.clear()
            done.release()

        def begin() -> None:
            assert reactor._guest is not None
            tasks.append(reactor._guest.create_task(work()))

        with shield:
            reactor.now(begin)
            reactor.wait(done)

    tasks: list[object] = []

    async def nothing() -> None: ...

    asyncio.run(reactor.run(nothing()))  # makes the loop
    while threading.get_ident() not in threads:
        call()


def test_a_caller_whose_thread_runs_a_loop_leaves_it_to_the_reactor(reactor: Reactor, handlers: None) -> None:
    done = _thread.allocate_lock()
    done.acquire()
    threads: list[int] = []

    async def work() -> None:
        threads.append(threading.get_ident())
        done.release()

    async def main() -> None:
        pending = asyncio.ensure_future(reactor.run(work()))
        await asyncio.sleep(0)
        with shield:
            reactor.wait(done)
        await pending

    asyncio.run(main())
    assert threads == [reactor._thread.ident]


def test_its_end_cancels_what_runs_and_refuses_what_comes(reactor: Reactor) -> None:
    begun, seen = threading.Event(), list[str]()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def main() -> None:
        task = asyncio.ensure_future(reactor.run(endless()))
        await asyncio.to_thread(begun.wait, 60)
        await asyncio.to_thread(reactor.close)
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ConnectionError, match="the pool has ended"):
            await reactor.run(endless())

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_a_call_runs_at_once_where_nobody_is_at_work_and_else_in_order(reactor: Reactor) -> None:
    ran: list[int] = []
    done = threading.Event()
    for number in range(100):
        reactor.now(lambda number=number: ran.append(number))  # type: ignore[misc]
    reactor.now(done.set)
    assert done.wait(60)
    assert ran == list(range(100))
