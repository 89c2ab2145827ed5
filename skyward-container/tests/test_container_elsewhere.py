"""Engines on other machines are refused before anything is asked of them; with programs that look like engines."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from skyward import Unavailable
from skyward.spi import PoolIdentity
from skyward_container import Container
from skyward_container._engine import Engine, find_engine

DOCKER = """echo '{"NCPU": 8, "MemTotal": 16000000000}'"""

type Programs = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINER_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def podman(*, remote: bool = False, **connections: str) -> str:
    """The text of a podman with these connections, of which the first is the default one."""
    info = {"host": {"cpus": 4, "memTotal": 8_000_000_000, "serviceIsRemote": remote}}
    known = [{"Name": name, "URI": uri, "Default": place == 0} for place, (name, uri) in enumerate(connections.items())]
    return f"case $1 in info) echo '{json.dumps(info)}' ;; system) echo '{json.dumps(known)}' ;; esac"


def refused(binary: str | None) -> str:
    with pytest.raises(Unavailable) as caught:
        asyncio.run(find_engine(binary))
    return str(caught.value)


def found(binary: str | None = None) -> str:
    engine = asyncio.run(find_engine(binary))
    assert isinstance(engine, Engine)
    return engine.name


FAR = ["ssh://far.example", "tcp://10.1.2.3:2375", "tcp://docker:2375", "ssh://far.example:22/run/podman.sock"]
HERE = [
    "unix:///run/user/1000/docker.sock",
    "tcp://127.0.0.1:2375",
    "ssh://core@localhost:50022/run/podman.sock",
    "tcp://[::1]:2375",
    f"tcp://{socket.gethostname()}:2375",
    "npipe:////./pipe/docker_engine",
]


@pytest.mark.parametrize("address", FAR)
def test_docker_host_elsewhere_is_refused_with_what_and_the_remedy(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    programs("docker", "echo 'it was asked' >&2; exit 1")
    monkeypatch.setenv("DOCKER_HOST", address)
    said = refused("docker")
    assert said.startswith(f"binary='docker' is an engine on another machine (DOCKER_HOST={address})")
    assert "the ports of its containers would be there" in said
    assert "unset DOCKER_HOST, or run this program there" in said
    assert "it was asked" not in said


@pytest.mark.parametrize("address", HERE)
def test_docker_host_on_this_machine_will_do(programs: Programs, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    programs("docker", DOCKER)
    monkeypatch.setenv("DOCKER_HOST", address)
    assert found("docker") == "docker"


def test_a_context_elsewhere_is_refused_by_its_name(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(
        "docker", f'[ "$1 $2 $3" != "context inspect office" ] || {{ echo ssh://me@far.example; exit; }}\n{DOCKER}'
    )
    monkeypatch.setenv("DOCKER_CONTEXT", "office")
    assert "(the context office, ssh://***@far.example)" in refused("docker")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert found("docker") == "docker"


def test_the_context_that_is_chosen_in_dockers_settings_counts(programs: Programs, tmp_path: Path) -> None:
    programs("docker", f'[ "$1" != context ] || {{ echo tcp://far.example:2376; exit; }}\n{DOCKER}')
    settings = tmp_path / "docker" / "config.json"
    settings.parent.mkdir()
    for text in ('{"currentContext": "default"}', "{}", "not json", "[]"):
        settings.write_text(text)
        assert found("docker") == "docker"
    settings.write_text('{"currentContext": "office"}')
    assert "the context office, tcp://far.example:2376" in refused("docker")


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("CONTAINER_HOST", "ssh://far.example/run/podman.sock", "CONTAINER_HOST=ssh://far.example/run/podman.sock"),
        ("CONTAINER_CONNECTION", "office", "CONTAINER_CONNECTION, ssh://far.example/run/podman.sock"),
    ],
)
def test_a_podman_that_is_told_to_go_elsewhere_is_refused(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, shown: str
) -> None:
    text = podman(home="unix:///run/podman/podman.sock", office="ssh://far.example/run/podman.sock")
    programs("podman", text)
    assert found("podman") == "podman"
    monkeypatch.setenv(variable, value)
    assert shown in refused("podman")


def test_a_podman_whose_service_is_remote_is_refused_unless_that_is_a_machine_of_its_own_here(
    programs: Programs,
) -> None:
    programs("podman", podman(remote=True, office="ssh://far.example:22/run/podman.sock"))
    assert "the default connection, ssh://far.example:22/run/podman.sock" in refused("podman")
    programs("podman", podman(remote=True, machine="ssh://core@127.0.0.1:50022/run/podman.sock"))
    assert found("podman") == "podman"


def test_the_next_engine_is_taken_and_the_log_says_why(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    programs("docker", DOCKER)
    programs("podman", podman())
    monkeypatch.setenv("DOCKER_HOST", "ssh://me:secret-word@far.example")
    with caplog.at_level(logging.WARNING):
        assert found() == "podman"
    assert "docker is an engine on another machine (DOCKER_HOST=ssh://***@far.example)" in caplog.text
    assert "secret-word" not in caplog.text


def test_a_provider_whose_engine_is_elsewhere_does_not_open(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs("docker", DOCKER)
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.1.2.3:2375")
    identity = PoolIdentity(pool_id="p", owner="me", deadline=None, lease=None, token=b"")
    with pytest.raises(Unavailable, match=r"another machine \(DOCKER_HOST=tcp://10\.1\.2\.3:2375\)"):
        asyncio.run(Container(binary="docker").open(identity))
