"""Large arguments that many calls share are sent once to each node, whatever happens to slots, nodes and networks."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import skyward as sky
from skyward._codec import encode_call
from skyward.spi import Sharing

from .behind import noting, ran
from .conftest import PATIENCE, until, wait_for_exit
from .relay import Failing, Relay, cutting

MIB = 1 << 20


@pytest.fixture(scope="module")
def pool() -> Iterator[sky.ComputePool]:
    """One node with two slots."""
    with sky.ComputePool(concurrency=2, display="quiet") as pool:
        yield pool


def fresh(size: int = 8 * MIB) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An array that no node has seen."""
    return np.frombuffer(bytearray(secrets.token_bytes(size)), np.uint8)


def shared[R](pending: sky.PendingCompute[R], sharing: Sharing) -> sky.PendingCompute[R]:
    pending.sharing = sharing
    return pending


def functions() -> tuple[Any, Any, Any]:
    @sky.compute
    def look(array: Any, number: int) -> tuple[int, bool, int, int]:
        import hashlib

        digest = int.from_bytes(hashlib.sha256(array).digest()[:4])
        return number, array.flags.writeable, digest, sky.instance_info().worker

    @sky.compute
    def meet(array: Any, folder: str) -> int:
        import os
        import time

        worker = sky.instance_info().worker
        open(f"{folder}/{worker}", "w").close()
        while len(os.listdir(folder)) < 2:
            time.sleep(0.001)
        return int(array[-1])

    @sky.compute
    def forget(array: Any) -> int:
        import os

        with open("/proc/self/maps") as file:
            paths = {line.split()[-1] for line in file if "/shared/" in line}
        for path in paths:
            if os.path.exists(path):
                os.unlink(path)
        return len(paths)

    return look, meet, forget


look, meet, forget = functions()


def digest_of(array: Any) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(array).digest()[:4])


def test_an_array_is_sent_once_to_a_node_however_many_slots_calls_and_batches_have_it(
    pool: sky.ComputePool, tmp_path: Path
) -> None:
    array, sharing = fresh(), Sharing()
    last = (shared(meet(array, str(tmp_path)), sharing) & shared(meet(array, str(tmp_path)), sharing)) >> pool
    assert last == (array[-1], array[-1]), "both slots had it at the same time"
    for _ in range(2):
        calls = [shared(look(array, number), sharing) for number in range(30)]
        for number, found in enumerate(sky.gather(*calls) >> pool):
            assert found[:3] == (number, False, digest_of(array))
    assert array.nbytes < sharing.sent < 1.01 * array.nbytes
    again = Sharing()
    assert (shared(look(array.copy(), 1), again) >> pool)[2] == digest_of(array)
    assert (shared(look(array.copy(), 2), again) @ pool)[0][2] == digest_of(array)
    assert pool.submit(shared(look(array, 3), again)).result(PATIENCE)[2] == digest_of(array)
    assert again.sent < 0.01 * array.nbytes, "it is there already, whoever has sent it"


def test_small_arguments_and_calls_without_sharing_are_as_ever(pool: sky.ComputePool) -> None:
    array, sharing = fresh(2 * MIB), Sharing(above=4 * MIB)
    assert (shared(look(array, 1), sharing) >> pool)[:3] == (1, True, digest_of(array))
    assert (look(array, 1) >> pool)[:3] == (1, True, digest_of(array))
    assert sharing.sent > array.nbytes


def test_arguments_of_every_kind_arrive_in_their_places(pool: sky.ComputePool) -> None:
    @sky.compute
    def parts(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    first, second, small = fresh(2 * MIB), fresh(3 * MIB), fresh(10_000)
    nested = {"first": first, "small": small, "list": [second, second.reshape(2, -1).T, b"x" * (2 * MIB)]}
    args, kwargs = shared(parts(small, first, 5, nested, key=second[::2]), Sharing()) >> pool
    assert np.array_equal(args[0], small)
    assert np.array_equal(args[1], first)
    assert args[2] == 5
    assert np.array_equal(args[3]["small"], small)
    assert np.array_equal(args[3]["list"][1], second.reshape(2, -1).T)
    assert args[3]["list"][2] == b"x" * (2 * MIB)
    assert args[3]["first"] is args[1]
    assert np.array_equal(kwargs["key"], second[::2])


def test_an_array_that_was_changed_is_sent_anew_once_it_is_looked_at_again(pool: sky.ComputePool) -> None:
    array, sharing = fresh(2 * MIB), Sharing()
    for turn in range(3):
        array[:] = turn
        assert (shared(look(array, turn), sharing) >> pool)[2] == digest_of(array)
        if turn:
            sharing.forget()
        else:
            sharing = Sharing()


def test_an_array_that_is_changed_before_it_is_sent_fails_its_call_and_nothing_else(pool: sky.ComputePool) -> None:
    array, sharing = fresh(2 * MIB), Sharing()
    before = array.copy()
    encode_call((array,), {}, "look", print, sharing)  # as another call does, which goes to another node
    array[0] ^= 1
    for number in range(2):
        with pytest.raises(ValueError, match=r"of 2097152 bytes was changed between its call and its arrival"):
            shared(look(array, number), sharing) >> pool
    assert (shared(look(before, 2), Sharing()) >> pool)[2] == digest_of(before)
    assert (shared(look(array, 3), Sharing()) >> pool)[2] == digest_of(array)


def test_what_the_node_has_forgotten_is_sent_again(pool: sky.ComputePool) -> None:
    array, sharing = fresh(2 * MIB), Sharing()
    assert shared(forget(array), sharing) >> pool
    other = fresh(2 * MIB)
    for number in range(4):  # so that no slot has it mapped any more
        shared(look(other, number), sharing) @ pool
        (shared(look(other, 1), sharing) & shared(look(other, 2), sharing)) >> pool
    assert (shared(look(array, 1), sharing) >> pool)[2] == digest_of(array)
    assert sharing.sent > 2.9 * array.nbytes


def test_a_slot_that_dies_leaves_the_array_to_the_next_one(pool: sky.ComputePool) -> None:
    @sky.compute
    def die(array: Any) -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    array, sharing = fresh(), Sharing()
    for number in range(2):
        with pytest.raises(sky.SlotDied):
            shared(die(array), sharing) >> pool
        calls = [shared(look(array, each), sharing) for each in range(10)]
        assert {found[2] for found in sky.gather(*calls) >> pool} == {digest_of(array)}, number
    assert sharing.sent < 1.01 * array.nbytes


def test_threads_that_share_the_same_array_at_the_same_time_have_it_sent_once(pool: sky.ComputePool) -> None:
    array = fresh()
    sharings = [Sharing() for _ in range(3)]
    found: list[Any] = []

    def work(sharing: Sharing) -> None:
        calls = [shared(look(array.copy(), number), sharing) for number in range(10)]
        found.extend(sky.gather(*calls) >> pool)

    threads = [threading.Thread(target=work, args=(sharing,)) for sharing in sharings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [number for number, *_ in sorted(found)] == sorted(list(range(10)) * 3)
    assert {digest for _, _, digest, _ in found} == {digest_of(array)}
    assert array.nbytes < sum(sharing.sent for sharing in sharings) < 1.01 * array.nbytes


def test_the_total_of_what_was_sent_is_counted(pool: sky.ComputePool) -> None:
    before, sharings = Sharing.total, [Sharing(), Sharing()]
    for sharing in sharings:
        shared(look(fresh(2 * MIB), 1), sharing) >> pool
    assert Sharing.total - before == sum(sharing.sent for sharing in sharings) > 4 * MIB


@pytest.mark.parametrize("seed", range(4))
def test_over_connections_that_drop_in_its_middle_it_arrives_and_each_task_runs_once(
    small: Callable[..., sky.ComputePool], tmp_path: Path, seed: int
) -> None:
    note = noting(tmp_path)
    relay = Relay(cutting(seed, (6 * MIB, 20 * MIB), 4))
    begun = 0
    try:
        with small(provider=Failing(relay=relay), concurrency=2) as pool:
            sharing = Sharing()
            while not relay.cuts:  # which of the slots does how much, and so what goes over its connection, is open
                array = fresh()
                calls = [shared(note(begun + number, array), sharing) for number in range(10)]
                for number, (same, back) in enumerate(sky.gather(*calls) >> pool, begun):
                    assert same == number
                    assert np.array_equal(back, array)
                begun += 10
    finally:
        relay.close()
    assert ran(tmp_path) == list(range(begun))


def test_a_node_that_comes_in_the_place_of_a_lost_one_gets_what_its_tasks_need(
    at_home: Any, small: Callable[..., sky.ComputePool], tmp_path: Path
) -> None:
    @sky.compute(retry=1)
    def wait(array: Any) -> tuple[int, int]:
        import os
        import time

        (tmp_path / f"{os.getpid()}.{os.getppid()}").touch()
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        return int(array[0]), os.getppid()

    array, sharing = fresh(), Sharing()
    with small(nodes=2) as pool:
        running = [pool.submit(shared(wait(array), sharing)) for _ in range(2)]
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        victim = int(next(tmp_path.iterdir()).suffix[1:])
        os.kill(victim, signal.SIGKILL)
        assert wait_for_exit(victim)
        until(lambda: len(list(tmp_path.iterdir())) == 3)
        (tmp_path / "go").touch()
        first, supervisors = zip(*(each.result(PATIENCE) for each in running), strict=True)
        assert set(first) == {array[0]}
        assert victim not in supervisors
    assert 3 * array.nbytes < sharing.sent < 3.01 * array.nbytes


class Gate:
    """A place in a stream of bytes: ``reached`` once all before it have gone on; what follows waits until it opens."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.reached = threading.Event()
        self.opened = threading.Event()


class Holding(Relay):
    """A relay that stops at gates in any stream that is so long."""

    def __init__(self, *gates: Gate) -> None:
        super().__init__(lambda _: (None, None))
        self.gates = gates

    def _carry(self, source: Any, target: Any, limit: int | None, ends: Any) -> None:
        super()._carry(cast("socket.socket", _Gated(source, self.gates)), target, limit, ends)


class _Gated:
    def __init__(self, source: Any, gates: tuple[Gate, ...]) -> None:
        self._source = source
        self._gates = list(gates)
        self._carried = 0

    def recv(self, size: int) -> bytes:
        while self._gates and self._carried >= self._gates[0].after:
            self._gates[0].reached.set()
            assert self._gates.pop(0).opened.wait(PATIENCE)
        data: bytes = self._source.recv(size)
        self._carried += len(data)
        return data


def test_a_call_that_is_cancelled_does_not_wait_for_its_array_and_the_next_one_gets_it(
    small: Callable[..., sky.ComputePool],
) -> None:
    gates = Gate(2 * MIB), Gate(5 * MIB)
    relay = Holding(*gates)
    array, sharing, ended = fresh(), Sharing(), threading.Event()
    said: list[str | None] = []

    def hear(event: sky.TaskCompleted) -> None:
        said.append(event.error)
        ended.set()

    async def give_up(pool: sky.ComputePool) -> None:
        running = asyncio.create_task(pool.arun(shared(look(array, 1), sharing)))
        assert await asyncio.to_thread(gates[0].reached.wait, PATIENCE)
        running.cancel()
        gates[0].opened.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await asyncio.to_thread(gates[1].reached.wait, PATIENCE)
        assert await asyncio.to_thread(ended.wait, PATIENCE), "it has ended before the array was there"

    try:
        with small(provider=Failing(relay=relay)) as pool:
            pool.on(sky.TaskCompleted, hear)
            asyncio.run(give_up(pool))
            assert len(said) == 1
            assert "cancelled" in str(said[0])
            following = pool.submit(shared(look(array, 2), sharing))
            gates[1].opened.set()
            assert following.result(PATIENCE)[2] == digest_of(array)
        assert sharing.sent < 1.01 * array.nbytes
    finally:
        for gate in gates:
            gate.opened.set()
        relay.close()


def test_slots_that_want_what_another_one_is_being_sent_wait_for_it(small: Callable[..., sky.ComputePool]) -> None:
    gate = Gate(2 * MIB)
    relay = Holding(gate)
    array, sharing = fresh(), Sharing()
    try:
        with small(provider=Failing(relay=relay), concurrency=3) as pool:
            running = [pool.submit(shared(look(array, number), sharing)) for number in range(6)]
            assert gate.reached.wait(PATIENCE)
            gate.opened.set()
            assert {each.result(PATIENCE)[2] for each in running} == {digest_of(array)}
        assert sharing.sent < 1.01 * array.nbytes
    finally:
        gate.opened.set()
        relay.close()


def test_a_call_that_waits_for_what_another_slot_is_sent_can_be_cancelled_at_once(
    small: Callable[..., sky.ComputePool],
) -> None:
    gate = Gate(MIB // 2)  # in the first piece, so that the one that is sent it hears nothing more
    relay = Holding(gate)
    array, sharing = fresh(), Sharing()
    ends = threading.Semaphore(0)

    async def give_up(pool: sky.ComputePool) -> None:
        running = [asyncio.create_task(pool.arun(shared(look(array, number), sharing))) for number in range(2)]
        assert await asyncio.to_thread(gate.reached.wait, PATIENCE)
        for each in running:
            each.cancel()
        assert await asyncio.to_thread(ends.acquire, timeout=PATIENCE), "the one that is sent nothing has ended"
        gate.opened.set()
        assert await asyncio.to_thread(ends.acquire, timeout=PATIENCE)
        await asyncio.wait(running)

    try:
        with small(provider=Failing(relay=relay), concurrency=2) as pool:
            pool.on(sky.TaskCompleted, lambda _: ends.release())
            asyncio.run(give_up(pool))
            assert (shared(look(array, 2), sharing) >> pool)[2] == digest_of(array)
    finally:
        gate.opened.set()
        relay.close()


def test_over_ssh_it_is_sent_once_more_where_the_connection_is_cut_meanwhile(behind: Any) -> None:
    @sky.compute
    def length(data: bytes, number: int) -> tuple[int, int]:
        import zlib

        return number, zlib.crc32(data)

    data, sharing = secrets.token_bytes(4 * MIB), Sharing()
    relay, pool = behind(lambda number: (2 * MIB, None) if number == 1 else (None, None), concurrency=2)
    with pool:
        relay.cut()  # the connection after this one is cut with the data on it
        for _ in range(2):
            calls = [shared(length(data, number), sharing) for number in range(10)]
            assert sky.gather(*calls) >> pool == tuple((number, zlib.crc32(data)) for number in range(10))
        assert relay.cuts > 1
    assert len(data) < sharing.sent < 2.1 * len(data)
