"""Containers that are cut off while a task runs in them: its result arrives, and it has not run twice."""

from __future__ import annotations

import time
from typing import Any

import pytest

import skyward as sky

pytestmark = pytest.mark.usefixtures("quick")

ADDRESS = ("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
SERVERS = "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in sshd*) echo ${p#/proc/};; esac; done"


def test_a_network_that_goes_and_comes_back_and_a_killed_ssh_server_cost_no_task(
    pool: Any, podman: Any, left: Any, story: Any, waiting: Any, let_end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "skyward.tasks")
    wait = waiting()

    @sky.compute
    def echo(value: int) -> int:
        return value

    @sky.compute
    def head() -> str:
        return sky.instance_info().head_addr

    with pool(nodes=2, on_event=story, lease=60) as running:
        first = {event.instance_id for event in story.of(sky.NodeReady) if event.node == 0}
        tasks = {name: running.submit(wait(name)) for name in ("a", "b")}
        names = sorted(tasks, key=lambda name: story.machine(name) not in first)
        cut, other = (tasks[name] for name in names)  # the one on node 0 first
        let_end(story.machine(names[1]), names[1])
        assert other.result(story.patience) == 1
        machine = story.machine(names[0])
        assert {machine} == first
        [network] = [name for name in left() if name.count("-") == 1]
        address = podman(*ADDRESS, machine)
        podman("network", "disconnect", network, machine)
        story.until(lambda: "the link to slot" in caplog.text)
        assert echo(1) >> running == 1  # on the other node
        podman("network", "connect", network, machine)
        anew = podman(*ADDRESS, machine)
        assert anew != address
        let_end(machine, names[0])
        assert cut.result(story.patience) == 1
        end = time.monotonic() + story.patience
        while head() @ running != (anew.strip(),) * 2:  # node 0 is met elsewhere now
            assert time.monotonic() < end

        killed = running.submit(wait("killed"))
        machine = story.machine("killed")
        servers = podman("exec", machine, "sh", "-c", SERVERS).split()
        assert len(servers) >= 2  # the one that listens, and the one of this client
        podman("exec", machine, "kill", "-9", *servers)
        let_end(machine, "killed")
        assert killed.result(story.patience) == 1
        assert echo(3) @ running == (3, 3)
    assert not story.of(sky.InstancePreempted)
    for name in (names[0], "killed"):
        assert len(story.said(f"{name} begun")) == len(story.said(f"{name} ends")) == 1
