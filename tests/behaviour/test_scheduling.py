"""Which slot takes which task."""

from __future__ import annotations

import asyncio
from typing import Any

import skyward as sky


def test_idle_nodes_take_turns(pool: sky.ComputePool, where: Any) -> None:
    nodes = [(where() >> pool)[0] for _ in range(6)]
    assert sorted(nodes[:2]) == [0, 1]
    assert nodes == nodes[:2] * 3


def test_a_batch_uses_every_node(pool: sky.ComputePool, where: Any) -> None:
    assert {node for node, _ in (where() & where()) >> pool} == {0, 1}


def test_tasks_run_at_the_same_time_on_the_slots_of_a_node(roomy: sky.ComputePool, gate: Any) -> None:
    @sky.compute
    def meet(number: int) -> int:
        (gate.wait if number else gate.open)()
        return number

    assert (meet(0) & meet(1)) >> roomy == (0, 1)


def test_a_busy_slot_never_delays_a_task_that_another_one_could_take(
    roomy: sky.ComputePool, double: Any, gate: Any
) -> None:
    @sky.compute
    def open_or_wait(number: int) -> int:
        if number == 0:
            gate.wait()
        elif number == 400:
            gate.open()
        return number

    # The function is known to be brief, so that its tasks are sent ahead, also behind the one that waits.
    sky.gather(*(open_or_wait(number) for number in range(1, 50))) >> roomy
    assert sky.gather(*(open_or_wait(number) for number in range(401))) >> roomy == tuple(range(401))


def test_a_task_that_was_sent_ahead_is_taken_back_by_a_slot_that_falls_idle(roomy: sky.ComputePool, gate: Any) -> None:
    @sky.compute
    def step(number: int) -> int:
        if number == 1:
            gate.wait()
        elif number == 3:
            gate.open()
        return number

    sky.gather(*(step(0) for _ in range(20))) >> roomy
    for _ in range(5):
        assert sky.gather(step(1), step(0), step(0), step(3)) >> roomy == (1, 0, 0, 3)


def test_long_and_short_tasks_share_two_nodes(pool: sky.ComputePool, double: Any, listen: Any) -> None:
    @sky.compute
    def endless() -> None:
        import threading

        threading.Event().wait()

    seen = listen(pool)

    async def main() -> None:
        long = asyncio.create_task(pool.arun(endless()))
        busy = await asyncio.to_thread(
            seen.wait, lambda event: isinstance(event, sky.TaskStarted) and event.name == "endless"
        )
        short = await pool.arun_batch(sky.gather(*(double(number) for number in range(50))))
        assert short == tuple(range(0, 100, 2))
        assert not long.done()
        assert {event.node for event in seen.of(sky.TaskCompleted)} == {1 - busy.node}
        long.cancel()
        await asyncio.wait([long])

    asyncio.run(main())
    seen.end("endless")  # so that the next test finds the pool idle
