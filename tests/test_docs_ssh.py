"""The provider of docs/plugins.md whose machines are reached over SSH works as it stands, against a real SSH server."""

from __future__ import annotations

import asyncio
import getpass
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sshd_here import Sshd
from sshd_here import sshd_path as sshd_path

import skyward as sky
from skyward import spi

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")


def example() -> str:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [text] = [block for block in blocks if "class MoonSession" in block and "SshTransport" in block]
    return str(text)


class Client:
    """The vendor's own client: its one machine is this one, behind an SSH server that gets what cloud-init is told."""

    servers: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - the vendor's memory, whoever asks
    start: Callable[[dict[str, Any]], int]
    most = 1

    def __init__(self, token: str) -> None:
        assert token == "a-token"

    async def kinds(self, region: str) -> list[dict[str, Any]]:
        return [{"name": "lander", "dollars_per_hour": 0.5, "cpus": 2, "gigabytes": 4}]

    async def create(self, *, kind: str, region: str, tags: dict[str, str], user_data: str) -> dict[str, Any]:
        if len(self.servers) >= self.most:
            raise sky.Unavailable("the moon is full")
        head, _, settings = user_data.partition("\n")
        assert head == "#cloud-config"
        told = json.loads(settings)
        [[*_, switch]] = told["bootcmd"]
        subprocess.run(["sh", "-n"], input=switch, text=True, check=True)  # noqa: ASYNC221 - it takes milliseconds
        port = type(self).start(told)
        server: dict[str, Any] = {
            "id": f"srv-{len(self.servers)}", "state": "on", "tags": dict(tags), "port": port,
            "address": "127.0.0.1", "private_address": "127.0.0.1",
        }  # fmt: skip
        self.servers[server["id"]] = server
        return server

    async def list(self) -> list[dict[str, Any]]:
        return list(self.servers.values())

    async def delete(self, known: str) -> None:
        self.servers[known]["state"] = "off"

    async def tag(self, known: str, tags: dict[str, str]) -> None:
        self.servers[known]["tags"] |= tags

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def moon(require: Any, sshd_path: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The page's provider, with this machine for a vendor's."""
    require(getpass.getuser() == "root", "root: the machines of the example are entered as root", ci=False)
    server = Sshd(path=sshd_path)
    home = tempfile.mkdtemp(prefix="sky-", dir="/tmp")

    def start(told: dict[str, Any]) -> int:
        server.stop()
        server.host = spi.KeyPair(told["ssh_keys"]["ed25519_private"], told["ssh_keys"]["ed25519_public"])
        server.authorise(*(spi.KeyPair("", public) for public in told["ssh_authorized_keys"]))
        server.start()
        return int(server.port)

    sdk = ModuleType("moon_sdk")
    sdk.Client = type("Client", (Client,), {"servers": {}, "start": staticmethod(start)})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "moon_sdk", sdk)
    monkeypatch.setenv("MOON_TOKEN", "a-token")
    real = spi.SshTransport

    def elsewhere(*arguments: Any, **options: Any) -> spi.Transport:
        """What is installed stays in folders of this test."""
        return real(*arguments, **{**options, "root": str(tmp_path / "root"), "folder": f"{home}/node"})

    monkeypatch.setattr(spi, "SshTransport", elsewhere, raising=False)
    module = ModuleType("skyward_moon")
    monkeypatch.setitem(sys.modules, "skyward_moon", module)
    exec(compile(example(), "docs/plugins.md", "exec"), vars(module))
    yield module
    server.close()
    shutil.rmtree(home, ignore_errors=True)


def test_a_pool_runs_on_its_machines_and_leaves_none(moon: Any) -> None:
    @sky.compute
    def folder() -> str:
        import skyward

        return skyward.__file__

    with sky.ComputePool(moon.Moon(), timeout=600, display="quiet") as pool:
        assert "/root/payload/front/" in (folder() >> pool)
        servers = sys.modules["moon_sdk"].Client.servers
        before = float(servers["srv-0"]["tags"]["skyward-deadline"])
        pool.extend(1200)
        assert float(servers["srv-0"]["tags"]["skyward-deadline"]) > before + 300
    assert {server["state"] for server in servers.values()} == {"off"}


def test_what_it_cannot_give_and_who_it_does_not_know_is_said(moon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = spi.PoolIdentity(pool_id="p", owner="me", deadline=None, lease=None, token=b"x")
    with pytest.raises(sky.SkywardError, match="the moon is full"):
        sky.ComputePool(moon.Moon(), nodes=2, display="quiet").__enter__()
    monkeypatch.delenv("MOON_TOKEN")
    with pytest.raises(sky.AuthenticationFailed, match="set MOON_TOKEN"):
        asyncio.run(moon.Moon().open(identity))
