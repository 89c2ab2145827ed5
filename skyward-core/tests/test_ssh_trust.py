"""Whoever answers in the place of a machine is refused with the reason, and is given nothing."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ssh_impostor import make_impostor as make_impostor
from ssh_machine import Ear, Machine

from skyward._ssh import new_key_pair
from skyward._ssh.connect import Denied, Hopeless, connect
from skyward._ssh.hostkeys import HostKeys
from skyward.errors import BootstrapError, NodeLost
from skyward.model.image import Image
from skyward.model.ssh import SshAddress


async def greets(address: SshAddress) -> None:
    """Connect once."""
    await (await connect(address, HostKeys(address))).close()


def written(tmp_path: Path, text: str) -> tuple[str, ...]:
    (tmp_path / "ssh_config").write_text(text)
    return (str(tmp_path / "ssh_config"),)


def test_an_impostor_at_the_first_contact_is_given_nothing_where_the_host_key_is_known(
    sshd: Any, machine: Machine, make_impostor: Any
) -> None:
    impostor = make_impostor()

    async def work() -> None:
        transport = machine.transport(sshd.address(port=impostor.port))
        try:
            await transport.bootstrap(Image(env={"TOKEN": "s3cr3t"}), machine.report)
        finally:
            await transport.close()

    with pytest.raises(BootstrapError) as caught:
        asyncio.run(work())
    assert "another machine has taken its address" in str(caught.value)
    assert "open a new pool" in str(caught.value)
    assert impostor.met == 1  # asking again would be no use
    assert impostor.given == []


@pytest.mark.parametrize("known", ["given", "pinned"])
def test_an_impostor_at_a_reconnection_is_given_nothing(
    sshd: Any, machine: Machine, make_impostor: Any, make_relay: Any, known: str
) -> None:
    impostor = make_impostor()
    relay = make_relay(sshd.port)
    host_key = sshd.host.public if known == "given" else None

    async def work() -> None:
        transport = machine.transport(sshd.address(port=relay.port, host_key=host_key))
        await transport.bootstrap(Image(), machine.report)
        ear = Ear()
        await transport.open("control", ear)
        relay.target = impostor.port
        relay.cut()
        await ear.lost.wait()
        for _ in range(2):  # nor is it believed for being there still
            with pytest.raises(NodeLost, match="another machine has taken its address"):
                await transport.open("control", Ear())
        relay.target = sshd.port
        await transport.open("control", Ear())  # the machine itself is
        await transport.close()

    asyncio.run(work())
    assert impostor.met == 2
    assert impostor.given == []


def test_the_impostor_of_these_tests_takes_what_it_is_given(sshd: Any, make_impostor: Any) -> None:
    impostor = make_impostor()
    address = sshd.address(port=impostor.port, host_key=None)
    with pytest.raises(ConnectionError):
        asyncio.run(greets(address))
    assert impostor.given == [f"the name {address.username}", "a session"]


def test_a_host_is_looked_up_by_its_alias_whatever_its_port(sshd: Any, identity: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    files = written(tmp_path, f"Host *\n HostKeyAlias steady\n UserKnownHostsFile {known}\n IdentityFile {identity}\n")
    address = sshd.address(host_key=None, key=None, config=files)
    known.write_text(f"steady {sshd.host.public}\n")
    asyncio.run(greets(address))
    known.write_text(f"steady {new_key_pair('other').public}\n")
    with pytest.raises(Hopeless, match=rf"`ssh-keygen -f {known} -R steady`"):
        asyncio.run(greets(address))


def test_a_line_that_asks_to_verify_nothing_is_named_when_a_host_is_refused(
    sshd: Any, identity: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {new_key_pair('other').public}\n")
    files = written(tmp_path, f"Host *\n StrictHostKeyChecking no\n UserKnownHostsFile {known}\n")
    with pytest.raises(Hopeless, match=r"ssh_config, line 2: StrictHostKeyChecking no is not followed"):
        asyncio.run(greets(sshd.address(host_key=None, config=files)))


# keys with a passphrase


@pytest.fixture
def locked(sshd: Any, tmp_path: Path, require: Any) -> Path:
    """The client's key, protected by a passphrase."""
    path = tmp_path / "locked"
    path.write_text(sshd.key.private)
    path.chmod(0o600)
    subprocess.run([require.command("ssh-keygen"), "-q", "-p", "-P", "", "-N", "a passphrase", "-f", path], check=True)
    return path


def test_a_key_with_a_passphrase_is_named_with_the_way_to_the_agent(
    sshd: Any, locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    files = written(tmp_path, f"IdentityFile {locked}\n")
    with pytest.raises(Denied, match=f"{locked} has a passphrase: `ssh-add {locked}`"):
        asyncio.run(greets(sshd.address(key=None, config=files)))


@pytest.mark.usefixtures("agent")
def test_a_key_with_a_passphrase_is_of_use_by_the_agent(sshd: Any, locked: Path, tmp_path: Path) -> None:
    files = written(tmp_path, f"IdentityFile {locked}\n")
    asyncio.run(greets(sshd.address(key=None, config=files)))
