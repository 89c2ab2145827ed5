"""Containers that are cut off while a task runs in them: its result arrives, and it has not run twice."""

from __future__ import annotations

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

    with pool(nodes=2, on_event=story, lease=60) as running:
        cut = running.submit(wait("cut"))
        machine = story.machine("cut")
        [network] = [name for name in left() if name.count("-") == 1]
        address = podman(*ADDRESS, machine)
        podman("network", "disconnect", network, machine)
        story.until(lambda: "the link to slot" in caplog.text)
        assert echo(1) >> running == 1  # on the other node
        podman("network", "connect", network, machine)
        assert podman(*ADDRESS, machine) != address
        let_end(machine, "cut")
        assert cut.result(story.patience) == 1
        assert echo(2) @ running == (2, 2)

        killed = running.submit(wait("killed"))
        machine = story.machine("killed")
        servers = podman("exec", machine, "sh", "-c", SERVERS).split()
        assert len(servers) >= 2  # the one that listens, and the one of this client
        podman("exec", machine, "kill", "-9", *servers)
        let_end(machine, "killed")
        assert killed.result(story.patience) == 1
        assert echo(3) @ running == (3, 3)
    assert not story.of(sky.InstancePreempted)
    for name in ("cut", "killed"):
        assert len(story.said(f"{name} begun")) == len(story.said(f"{name} ends")) == 1
