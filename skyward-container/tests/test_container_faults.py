"""Containers that are killed or stand still while a task runs in them: the right error or the right result."""

from __future__ import annotations

from typing import Any

import pytest

import skyward as sky


def test_a_kill_in_mid_task_costs_that_task_only_and_the_node_is_replaced(
    pool: Any, podman: Any, left: Any, story: Any, waiting: Any, let_end: Any
) -> None:
    wait, again = waiting(), waiting(retry=1)

    @sky.compute
    def meeting() -> tuple[str, str]:
        import socket

        return socket.gethostbyname(socket.gethostname()), sky.instance_info().head_addr

    with pool(nodes=2, on_event=story) as running:
        before = meeting() @ running
        tasks = {name: running.submit(wait(name)) for name in ("a", "b")}
        machines = {name: story.machine(name) for name in tasks}
        on = {event.line[0]: event.node for event in story.of(sky.LogLine) if event.line.endswith(" begun")}
        once, long = sorted(tasks, key=lambda name: on[name])
        first, other = machines[once], machines[long]
        podman("kill", first)
        error = tasks[once].exception(story.patience)
        assert isinstance(error, sky.OutcomeUnknown)
        assert first in str(error)
        assert "@sky.compute(retry=1)" in str(error)
        story.until(lambda: story.of(sky.NodeReplaced))

        twice = running.submit(again("twice"))
        second = story.machine("twice")
        assert second not in (first, other)
        podman("kill", second)
        third = story.machine("twice", 2)
        assert third not in (first, second, other)
        let_end(third, "twice")
        assert twice.result(story.patience) == 1

        assert not tasks[long].done()
        let_end(other, long)
        assert tasks[long].result(story.patience) == 1
        assert story.said(f"{long} begun") == story.said(f"{long} ends") == [other]
        (head, head_by_itself), (kept, head_by_the_other) = meeting() @ running
        assert head_by_itself == head_by_the_other == head
        assert kept == before[1][0]
    lost = [(event.instance_id, event.node) for event in story.of(sky.InstancePreempted)]
    assert lost == [(first, 0), (second, 0)]
    replaced = [(each.old_instance_id, each.new_instance_id, each.node) for each in story.of(sky.NodeReplaced)]
    assert replaced == [(first, second, 0), (second, third, 0)]
    assert not left()


@pytest.mark.usefixtures("quick")
def test_a_pause_in_mid_task_short_or_long_neither_loses_it_nor_runs_it_twice(
    pool: Any, podman: Any, story: Any, waiting: Any, let_end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "skyward.tasks")
    wait = waiting()
    with pool(on_event=story, lease=60) as running:
        short = running.submit(wait("short"))
        machine = story.machine("short")
        let_end(machine, "unrelated")
        podman("pause", machine)
        podman("unpause", machine)
        let_end(machine, "short")
        assert short.result(story.patience) == 1

        long = running.submit(wait("long"))
        story.machine("long")
        podman("pause", machine)
        story.until(lambda: "the link to slot" in caplog.text)
        podman("unpause", machine)
        let_end(machine, "long")
        assert long.result(story.patience) == 1
    assert not story.of(sky.InstancePreempted)
    assert story.said("long begun") == story.said("long ends") == [machine]


@pytest.mark.usefixtures("quick")
def test_a_container_that_stands_still_for_good_is_given_up_after_the_lease_and_ended(
    pool: Any, podman: Any, left: Any, story: Any, waiting: Any, let_end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "skyward.tasks")
    once, again = waiting(), waiting(retry=1)
    with pool(nodes=2, concurrency=2, on_event=story, lease=4) as running:
        tasks = {name: running.submit(make(name)) for name, make in (("a", once), ("b", again), ("c", once))}
        machines = {name: story.machine(name) for name in tasks}
        still, other = machines["b"], machines["a"]
        assert machines["c"] == other != still
        podman("pause", still)
        story.until(lambda: "the link to slot" in caplog.text)
        tasks["d"] = running.submit(once("d"))  # the one slot that is free is out of reach, so it is never sent
        story.until(lambda: story.of(sky.NodeReplaced))
        assert still not in left()
        machines |= {"b": story.machine("b", 2), "d": story.machine("d")}
        for name in "abcd":
            assert not tasks[name].done()
            let_end(machines[name], name)
            assert tasks[name].result(story.patience) == 1
    assert [event.instance_id for event in story.of(sky.InstancePreempted)] == [still]
    assert [event.old_instance_id for event in story.of(sky.NodeReplaced)] == [still]
    assert [len(story.said(f"{name} begun")) for name in "abcd"] == [1, 2, 1, 1]
