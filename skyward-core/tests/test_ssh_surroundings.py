"""What a machine over SSH gets of its client's surroundings and plugins, and how it is told that it has gone."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import tarfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from ssh_machine import Ear, Machine

from skyward import Image, _surroundings
from skyward._ssh import transport as ssh_transport
from skyward.errors import BootstrapError, NodeLost, Transient
from skyward.spi import SshTransport, Step


def does[T](work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


async def prepare(transport: SshTransport, machine: Machine, *steps: Step) -> None:
    try:
        await transport.bootstrap(Image(), machine.report, steps)
    finally:
        await transport.close()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's certificates: those that this test run needs itself, in a file of their own."""
    system = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    path = tmp_path / "client's bundle.pem"
    path.write_bytes(Path(system).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def test_certificates_lie_there_before_the_script_runs_and_tasks_find_them_too(
    sshd: Any, machine: Machine, bundle: Path
) -> None:
    seen = Path(machine.home, "seen")
    look = Step("look", f'{{ echo "$PIP_CERT"; tail -n 1 "$SSL_CERT_FILE"; }} >{seen}')
    there = f"{machine.root}/certificates.pem"
    with bundle.open("a") as file:
        file.write("\n# mine\n")
    does(lambda: prepare(machine.transport(sshd.address(), variables={"SSL_CERT_FILE": "/an/image's"}), machine, look))
    assert seen.read_text().splitlines() == [there, "# mine"]
    assert machine.pid is not None
    environment = Path(f"/proc/{machine.pid}/environ").read_bytes().split(b"\0")
    assert f"SSL_CERT_FILE={there}".encode() in environment
    with bundle.open("a") as file:
        file.write("# and others\n")
    does(lambda: prepare(machine.transport(sshd.address()), machine))
    assert Path(there).read_text().endswith("# mine\n# and others\n")


def test_proxies_reach_the_script_and_their_credentials_neither_the_log_nor_an_error(
    sshd: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_surroundings, "_told", set())
    monkeypatch.setenv("FTP_PROXY", "http://somebody:s3cret@word@proxy.example:3128")
    monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", "an0ther-word")
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:s3cret@127.0.0.1:9")  # nothing could be fetched through it
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "77")
    said = 'echo "https: ${HTTPS_PROXY:-none}, after $UV_HTTP_TIMEOUT s, by $FTP_PROXY with $UV_INDEX_MINE_PASSWORD"'

    with caplog.at_level(logging.DEBUG), pytest.raises(BootstrapError) as caught:
        does(lambda: prepare(machine.transport(sshd.address()), machine, Step("say", f"{said} >&2; run false")))
    assert "https: none, after 77 s, by http://***@proxy.example:3128 with ***" in caught.value.output
    assert "HTTPS_PROXY is not passed on to the nodes: http://***@127.0.0.1:9 is on this machine alone" in caplog.text
    for text in (str(caught.value), repr(caught.value.args), caplog.text):
        assert "s3cret" not in text
        assert "an0ther-word" not in text


@pytest.fixture
def nobody(make_relay: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """A port behind which nothing answers any more, of which a transport soon has enough."""
    monkeypatch.setattr(ssh_transport, "_BOOT_PATIENCE", 0.5)
    relay = make_relay(1)  # where nobody listens
    return int(relay.port)


async def yes() -> bool:
    return True


async def unknown() -> bool:
    raise Transient("the provider does not answer")


def test_a_machine_that_has_ended_by_its_providers_word_is_lost_at_once(
    sshd: Any, machine: Machine, nobody: int
) -> None:
    async def work() -> None:
        transport = machine.transport(sshd.address(port=nobody), ended=yes)
        with pytest.raises(NodeLost, match="the machine of machine has ended"):
            await transport.bootstrap(Image(), machine.report)
        with pytest.raises(NodeLost, match="the machine of machine has ended"):
            await transport.open("control", Ear())
        await transport.close()

    does(work)


@pytest.mark.parametrize("ended", [None, unknown])
def test_one_of_which_nobody_knows_that_cannot_be_reached_is_no_failed_bootstrap(
    sshd: Any, machine: Machine, nobody: int, ended: Any
) -> None:
    with pytest.raises(ConnectionError, match="machine cannot be reached, in the phase connect"):
        does(lambda: prepare(machine.transport(sshd.address(port=nobody), ended=ended), machine))


def test_a_connection_that_keeps_dropping_is_no_failed_bootstrap_either(
    sshd: Any, machine: Machine, make_relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_transport, "_ATTEMPTS", 2)
    relay = make_relay(sshd.port)

    def report(phase: str, state: str, seconds: float | None) -> None:
        if (phase, state) == ("hang", "started"):
            relay.cut()

    async def work() -> None:
        transport = machine.transport(sshd.address(port=relay.port))
        # It ends with its connection, or the next run would wait for its lock.
        hang = Step("hang", "while echo .; do sleep 0.05; done")
        try:
            await transport.bootstrap(Image(), report, [hang])
        finally:
            await transport.close()

    with pytest.raises(ConnectionError, match="machine cannot be reached, in the phase hang"):
        does(work)
    assert relay.connections == 2


def test_a_machine_that_refuses_this_client_for_good_is_a_failed_bootstrap(
    sshd: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyward.spi import new_key_pair

    monkeypatch.setattr(ssh_transport, "_LOGIN_PATIENCE", 0.0)
    with pytest.raises(BootstrapError, match="does not accept the pool's own key"):
        does(lambda: prepare(machine.transport(sshd.address(key=new_key_pair("another"))), machine))


def test_the_packages_of_active_plugins_travel_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "skyward_zeta").mkdir()
    (tmp_path / "skyward_zeta" / "__init__.py").touch()
    (tmp_path / "zeta_more.py").touch()
    metadata = tmp_path / "skyward_zeta-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: skyward-zeta\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[skyward]\nzeta = skyward_zeta\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("SKYWARD_DISABLE_PLUGINS", raising=False)
    ssh_transport._of_plugins.cache_clear()
    try:
        packed, _ = ssh_transport._archive(("zeta_more",))
    finally:
        ssh_transport._of_plugins.cache_clear()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        names = set(tar.getnames())
    assert {"front/skyward_zeta/__init__.py", "front/zeta_more.py", "front/skyward/spi/__init__.py"} <= names
