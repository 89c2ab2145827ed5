"""Whole pools: from `with` to the result and back to nothing, on droplets that are containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.digitalocean import DigitalOceanServer

import skyward as sky
from skyward.spi import MachineLabel

CLIENT = """
import signal
import skyward as sky

with sky.ComputePool(sky.DigitalOcean(), lease=8, display="quiet"):
    print("in", flush=True)
    signal.pause()
"""


@pytest.mark.slow
def test_a_pool_runs_tells_its_deadline_and_leaves_nothing(digitalocean: DigitalOceanServer) -> None:
    from skyward_digitalocean import DigitalOcean

    @sky.compute
    def who(x: int) -> tuple[int, int, int]:
        info = sky.instance_info()
        return 2 * x, info.node, info.total_nodes

    costs: list[sky.CostFinal] = []

    def keep(event: object) -> None:
        if isinstance(event, sky.CostFinal):
            costs.append(event)

    with sky.ComputePool(DigitalOcean(), nodes=2, display="quiet", timeout=1800, on_event=keep) as pool:
        assert list(who(21) @ pool) == [(42, 0, 2), (42, 1, 2)]
        before = deadlines(digitalocean)
        pool.extend(7200)
        assert len(set(before)) == len(set(deadlines(digitalocean))) == 1
        assert before < deadlines(digitalocean)
    assert not digitalocean.ours
    assert digitalocean.belongings() == set()
    assert len(digitalocean.asked("POST /v2/droplets")) == 2
    assert costs[0].ondemand_count == 2


@pytest.mark.slow
def test_a_droplet_whose_client_was_killed_powers_itself_off_and_reap_destroys_it(
    digitalocean: DigitalOceanServer, tmp_path: Path
) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    environment.pop("SKYWARD_DISABLE_PLUGINS", None)
    with subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True, env=environment) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "in\n"
        client.send_signal(signal.SIGKILL)
    [droplet] = digitalocean.ours.values()
    assert digitalocean.off.wait(180), digitalocean.machines[str(droplet.id)].logs()
    assert droplet.status == "off"
    assert digitalocean.ours, "DigitalOcean bills it on"
    done = subprocess.run(
        [sys.executable, "-m", "skyward", "reap", "--json", "--provider", "DigitalOcean"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, json.loads(done.stdout)["problems"]) == (0, []), done.stderr
    assert not digitalocean.ours
    assert digitalocean.belongings() == set()


def deadlines(server: DigitalOceanServer) -> list[float]:
    labels = [MachineLabel.read(*droplet.tags) for droplet in server.ours.values()]
    return sorted(label.deadline or 0.0 for label in labels if label is not None)
