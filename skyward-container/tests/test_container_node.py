"""How a container is started and read, without an engine."""

from __future__ import annotations

import shutil
import subprocess
import time
from importlib import resources
from typing import Any

import pytest
from attrs import evolve

from skyward.spi import InstanceState, PoolIdentity
from skyward_container import _node
from skyward_container._environment import assignments

IDENTITY = PoolIdentity(
    pool_id="pool-1", owner="me, myself@here", deadline=time.time() + 100, lease=1.5, token=b"secret", client="a-1-2"
)
LIMITS = _node.Limits(2, 10**9, 5 * 10**8)


def command(**changes: Any) -> list[str]:
    return _node.command(
        "name", 3, IDENTITY, **{"image": "i", "switch": "text", "limits": LIMITS, "key": "k", **changes}
    )


def told(**changes: Any) -> dict[str, Any]:
    """As docker, podman and nerdctl tell of a container."""
    marks = {**_node.labels(IDENTITY), "skyward.node": "3"}
    facts = {
        "Name": "/skyward-pool-1-3-ab",
        "Config": {"Labels": marks},
        "State": {"Status": "running"},
        "NetworkSettings": {
            "Ports": {"22/tcp": [{"HostIp": "127.0.0.1", "HostPort": "4022"}]},
            "Networks": {"skyward-pool-1": {"IPAddress": "10.0.0.7"}},
        },
    }
    return {**facts, **changes}


def test_a_container_is_told_by_its_labels() -> None:
    found = _node.instance(told(), {})
    assert (found.id, found.node, found.pool_id, found.client) == ("skyward-pool-1-3-ab", 3, "pool-1", "a-1-2")
    assert found.owner == "me, myself@here"
    assert found.deadline == pytest.approx(IDENTITY.deadline, abs=0.001)
    assert (found.ip, found.private_ip, found.details) == ("127.0.0.1", "10.0.0.7", {"port": 4022})
    assert found.state is InstanceState.RUNNING


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("created", InstanceState.PENDING),
        ("paused", InstanceState.RUNNING),
        ("exited", InstanceState.GONE),
        ("removing", InstanceState.GONE),
        ("dead", InstanceState.GONE),
    ],
)
def test_a_container_that_has_ended_is_gone_though_it_is_still_listed(status: str, state: InstanceState) -> None:
    assert _node.instance(told(State={"Status": status}), {}).state is state


def test_a_container_without_a_port_does_not_run_yet() -> None:
    found = _node.instance(told(NetworkSettings={"Ports": {"22/tcp": None}, "Networks": None}), {})
    assert (found.state, found.ip, found.private_ip) == (InstanceState.PENDING, None, None)


def test_the_limits_of_the_pool_are_those_of_the_container() -> None:
    words = command()
    assert words[words.index("--cpus") + 1] == "2"
    assert words[words.index("--memory") + 1] == "1000000000"
    words = command(limits=_node.Limits(None, None, 1))
    assert "--cpus" not in words
    assert "--memory" not in words


def test_the_switch_gets_the_remaining_life_and_the_lease_in_whole_seconds() -> None:
    identity = evolve(IDENTITY, deadline=time.time() + 1000)
    *_, lifetime, lease, _, _ = _node.command("n", 0, identity, image="i", switch="t", limits=LIMITS, key="k")
    assert lease == "2"
    assert 900 <= int(lifetime) <= 1000


def test_a_pool_without_limits_gives_none_to_the_switch() -> None:
    identity = PoolIdentity(pool_id="p", owner="o", deadline=None, lease=None, token=b"")
    assert _node.command("n", 0, identity, image="i", switch="t", limits=LIMITS, key="k")[-4:] == ["", "", "k", "n"]
    assert _node.labels(identity)["skyward.deadline"] == ""


def test_an_odd_pool_id_makes_a_name_that_engines_take() -> None:
    assert _node.network_of("a b/c:ü") == "skyward-a-b-c--"


def test_the_command_that_starts_a_container_holds_no_secret() -> None:
    assert not any("secret" in word for word in command())


def test_a_nodes_own_words_are_told_from_those_of_others_in_a_log() -> None:
    log = "no entropy\n::node:: a-1 key ssh-ed25519 AAA \n785c9ef39475 ::node:: a-11 failed no such file \n"
    assert _node.host_key("a-1", log) == ("ssh-ed25519 AAA", "")
    assert _node.host_key("a-11", log) == ("", "no such file")
    assert _node.host_key("a-2", log) == _node.host_key("a.1", log) == ("", "")
    assert _node.host_key("a", "::node:: a failed \n")[1]


def test_variables_go_through_a_shell_as_they_are() -> None:
    script = assignments({"HTTPS_PROXY": "http://me:pass word@proxy:3128"}) + 'printf %s "$HTTPS_PROXY"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    assert said.stdout == "http://me:pass word@proxy:3128"


@pytest.mark.parametrize("name", ["node.sh", "recipe.sh"])
def test_the_shell_text_is_sound(name: str, require: Any) -> None:
    text = (resources.files("skyward_container") / name).read_text()
    require.command("shellcheck")
    checked = subprocess.run(["shellcheck", "-s", "sh", "-"], input=text, capture_output=True, text=True)
    assert not checked.returncode, checked.stdout
    for shell in filter(shutil.which, ("dash", "bash")):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)
