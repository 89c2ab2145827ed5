"""Pools whose nodes are containers, and what becomes of them when something goes wrong."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward_container import Container

type Podman = Callable[..., str]


def test_tasks_run_in_containers_that_are_gone_afterwards(pool: Any, left: Any) -> None:
    @sky.compute
    def where() -> tuple[str, int]:
        import os
        import socket

        return socket.gethostname(), os.getuid()

    with pool(nodes=2) as running:
        hosts = where() @ running
        assert len(left()) == 3  # and the network
    assert len(set(hosts)) == 2
    assert os.uname().nodename not in dict(hosts)
    assert not left()


def test_nodes_reach_each_other(pool: Any) -> None:
    @sky.compute
    def meet() -> str:
        import socket

        info = sky.instance_info()
        if info.node == 0:
            with socket.create_server(("0.0.0.0", 4711)) as server, server.accept()[0] as peer:
                return peer.recv(100).decode()
        import time

        while True:
            try:
                with socket.create_connection((info.head_addr, 4711)) as peer:
                    peer.sendall(b"hello")
                    return "said"
            except ConnectionRefusedError:
                time.sleep(0.01)

    with pool(nodes=2) as running:
        assert meet() @ running == ("hello", "said")


def test_the_pools_figures_are_the_containers_limits(pool: Any, left: Any, podman: Podman) -> None:
    with pool(cpu=1, memory="512MB"):
        name = next(name for name in left() if name.count("-") > 2)
        settings = json.loads(podman("container", "inspect", name))[0]["HostConfig"]
    assert settings["NanoCpus"] == 10**9
    assert settings["Memory"] == 512 * 10**6


def test_nothing_secret_can_be_seen_from_outside(
    pool: Any, left: Any, podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secrets.token_hex(12)
    monkeypatch.setenv("UV_INDEX", f"mine=https://me:{secret}@index.example/simple")
    monkeypatch.setenv("FTP_PROXY", f"http://me:{secret}@proxy:3128")

    @sky.compute
    def token_is_nowhere() -> list[str]:
        from pathlib import Path

        def read(path: Path) -> bytes:
            try:
                return path.read_bytes()
            except OSError:
                return b""

        commands = [read(path).decode() for path in Path("/proc").glob("[0-9]*/cmdline")]
        return [command for command in commands if "PRIVATE KEY" in command]

    with pool() as running:
        assert token_is_nowhere() >> running == []
        name = next(name for name in left() if name.count("-") > 2)
        assert secret not in podman("container", "inspect", name)


def test_the_clients_certificates_are_trusted_on_the_nodes(
    pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    mine = tmp_path / "mine.pem"
    mine.write_bytes(Path(system).read_bytes() + b"\n# mine\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(mine))

    @sky.compute
    def trusted() -> bytes:
        import os
        from pathlib import Path

        return Path(os.environ["SSL_CERT_FILE"]).read_bytes()

    with pool() as running:
        assert (trusted() >> running).endswith(b"# mine\n")


def test_an_image_without_what_it_takes_is_named(pool: Any) -> None:
    with pytest.raises(sky.AllProvidersFailedError, match="podman has no image localhost/debain"):
        pool(provider=Container(image="localhost/debain", binary="podman")).__enter__()


def test_without_an_engine_local_nodes_are_named(pool: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch, pytest.raises(sky.SkywardError, match=r"no container engine.*sky\.Local\(\)"):
        patch.setenv("PATH", str(tmp_path))
        pool(provider=Container()).__enter__()


@pytest.mark.parametrize("end", ["kill", "rm"])
def test_a_container_that_is_ended_from_outside_is_replaced(pool: Any, left: Any, podman: Podman, end: str) -> None:
    @sky.compute
    def host() -> str:
        import socket

        return socket.gethostname()

    replaced = threading.Event()
    with pool() as running:
        running.on(sky.NodeReplaced, lambda _: replaced.set())
        first = host() >> running
        name = next(name for name in left() if name.count("-") > 2)
        podman(*({"kill": ("kill", name), "rm": ("rm", "--force", name)}[end]))
        assert replaced.wait(120)
        assert host() >> running != first


def test_an_ssh_server_that_is_killed_is_started_again(pool: Any, left: Any, podman: Podman) -> None:
    @sky.compute
    def count() -> int:
        sky.count = getattr(sky, "count", 0) + 1  # type: ignore[attr-defined]
        return sky.count  # type: ignore[attr-defined,no-any-return]

    with pool() as running:
        assert count() >> running == 1
        name = next(name for name in left() if name.count("-") > 2)
        podman(
            "exec",
            name,
            "sh",
            "-c",
            "for p in /proc/[0-9]*; do case $(cat $p/comm) in sshd*) kill -9 ${p#/proc/};; esac; done",
        )
        assert count() >> running == 2  # the same process


@pytest.fixture
def gone(podman: Podman) -> Callable[[list[str], float], None]:
    """Waits until containers are gone; fails if they are not within so many seconds."""

    def wait(names: list[str], seconds: float) -> None:
        for name in names:
            subprocess.run(["podman", "wait", name], capture_output=True, timeout=seconds)
        for name in names:
            for _ in range(200):
                if name not in podman("ps", "--all", "--format", "{{.Names}}").split():
                    break
                threading.Event().wait(0.05)
            else:
                raise AssertionError(f"{name} is still there")

    return wait


@pytest.mark.slow
def test_an_engine_that_is_gone_at_the_end_names_the_container_and_it_ends_itself(
    pool: Any, flaky: Any, left: Any, gone: Any, podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyward import _teardown

    monkeypatch.setattr(_teardown, "_PATIENCE", 5.0)
    broken = flaky("""if [ -e "$folder/away" ]; then echo 'Cannot connect to the engine' >&2; exit 125; fi""")
    with (
        pytest.raises(sky.SkywardError, match="Cannot connect to the engine") as caught,
        pool(provider=broken, lease=5),
    ):
        [name, *_] = [name for name in left() if name.count("-") > 2]
        Path(broken.binary).with_name("away").touch()
    assert name in str(caught.value)
    gone([name], 5 + 10)
    for network in left():
        podman("network", "rm", network)
