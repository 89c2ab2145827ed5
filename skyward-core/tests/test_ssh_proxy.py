"""Machines behind a program of their provider's, with a real server."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ssh_machine import Machine, cut_off_and_heard_again
from sshd_here import free_port

from skyward._ssh.connect import Connection, Hopeless, connect
from skyward._ssh.hostkeys import HostKeys
from skyward._ssh.remote import run
from skyward._ssh.ways import Ways
from skyward.errors import AuthenticationFailed, ConfigurationError, Unavailable
from skyward.model.ssh import SshAddress, SshProxy

CARRY = """
import os, socket, sys, threading
print("\\nleading there", flush=True)
peer = socket.create_connection(("127.0.0.1", int(os.environ["WHERE"])))
def up():
    while data := os.read(0, 65536):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := peer.recv(65536):
    os.write(1, data)
"""
"""Leads to the port that its environment names, after words of its own, as some such programs have them."""


class Vendor:
    """Says which program leads to a port, or raises what the vendor's interface would."""

    def __init__(self, folder: Path, port: int) -> None:
        self.program = folder / "carry.py"
        self.program.write_text(CARRY)
        self.port = port
        self.asked = 0
        self.raises: Exception | None = None

    async def __call__(self) -> SshProxy:
        self.asked += 1
        if self.raises is not None:
            raise self.raises
        return SshProxy(command=(sys.executable, str(self.program)), environment={"WHERE": str(self.port)})


@pytest.fixture
def vendor(sshd: Any, tmp_path: Path) -> Vendor:
    return Vendor(tmp_path, sshd.port)


@pytest.fixture
def closed(sshd: Any) -> SshAddress:
    """The server's address, but for the port, where nothing answers."""
    address: SshAddress = sshd.address(port=free_port())
    return address


async def says(connection: Connection) -> list[str]:
    lines: list[str] = []
    try:
        assert await run(connection.ssh, "echo hello", {}, lines.append) == 0
    finally:
        await connection.close()
    return lines


def test_a_program_leads_to_a_closed_port_whatever_the_configuration_says_and_ends_with_the_connection(
    sshd: Any, vendor: Vendor, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ProxyJump nowhere\n  ProxyCommand none-such\n")
    address = sshd.address(port=free_port(), config=(str(config),))

    async def work() -> None:
        connection = await connect(address, HostKeys(address), await vendor())
        assert not connection.is_direct
        program = connection.program
        assert program is not None
        assert os.getsid(program._process.pid) != os.getsid(0)  # Ctrl-C is not for it
        assert await says(connection) == ["hello"]
        assert program._process.returncode == 0

    asyncio.run(work())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((sys.executable, "-c", "raise SystemExit('no session')"), r"through python\S*, which says: no session$"),
        (("/none/such", "x"), "/none/such cannot be started: .*No such file"),
    ],
)
def test_a_program_that_leads_nowhere_is_named_with_its_last_words(
    closed: SshAddress, command: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConnectionError, match=words):
        asyncio.run(connect(closed, HostKeys(closed), SshProxy(command=command)))


def test_what_is_no_server_at_its_end_is_refused_like_anywhere(sshd: Any, vendor: Vendor, closed: SshAddress) -> None:
    stranger = SshAddress(host="there", host_key=sshd.key.public, username=closed.username, key=closed.key, config=())
    with pytest.raises(Hopeless, match="shows the host key"):
        asyncio.run(led(vendor, stranger))


async def led(vendor: Vendor, address: SshAddress) -> Connection:
    return await connect(address, HostKeys(address), await vendor())


def test_a_node_is_made_ready_and_reached_through_it_and_after_a_cut_it_is_asked_for_anew(
    vendor: Vendor, closed: SshAddress, machine: Machine, make_relay: Any
) -> None:
    relay = make_relay(vendor.port)
    vendor.port = relay.port

    async def work() -> None:
        home = asyncio.get_running_loop()

        async def lead() -> SshProxy:
            assert asyncio.get_running_loop() is home
            return await vendor()

        transport = machine.transport(closed, proxy=lead)
        await cut_off_and_heard_again(transport, machine, relay)
        await transport.close()

    asyncio.run(work())
    assert vendor.asked == 2


async def attempts(ways: Ways) -> list[str]:
    """How attempts fail, until one does not."""
    failures: list[str] = []
    for _ in range(6):
        try:
            connection = await ways.connect()
        except ConnectionError as error:
            failures.append(str(error))
        else:
            assert await says(connection) == ["hello"]
            break
    return failures


def test_where_the_port_is_closed_for_long_the_program_is_tried_in_turn(vendor: Vendor, closed: SshAddress) -> None:
    ways = Ways(closed, vendor, after=1e-9)
    failures = asyncio.run(attempts(ways))
    assert [len(failures), vendor.asked] == [2, 1]  # the first failure is the beginning of the time
    assert all("nor is there a way aside" not in each for each in failures)
    assert asyncio.run(attempts(ways)) == []  # what led there is kept
    assert vendor.asked == 2


def test_where_the_port_is_open_no_program_is_asked_for(sshd: Any, vendor: Vendor) -> None:
    assert asyncio.run(attempts(Ways(sshd.address(), vendor, after=1e-9))) == []
    assert vendor.asked == 0


def test_where_neither_leads_there_both_reasons_are_told(vendor: Vendor, closed: SshAddress) -> None:
    vendor.raises = AuthenticationFailed("the vendor does not allow it: allow it")
    failures = asyncio.run(attempts(Ways(closed, vendor, after=1e-9)))
    assert len(failures) == 6
    assert f"{closed.host}:{closed.port} cannot be reached" in failures[-1]
    assert failures[-1].endswith("; nor is there a way aside: the vendor does not allow it: allow it")
    assert vendor.asked == 2  # in turn


def test_where_it_is_the_only_way_a_refusal_counts_and_anything_else_is_tried_again(
    vendor: Vendor, closed: SshAddress
) -> None:
    ways = Ways(closed, vendor)
    vendor.raises = Unavailable("not connected yet")
    assert asyncio.run(attempts(ways)) == ["not connected yet"] * 6
    vendor.raises = AuthenticationFailed("the vendor does not allow it: allow it")
    with pytest.raises(Hopeless, match="allow it"):
        asyncio.run(attempts(ways))
    vendor.raises = ConfigurationError("a bug")
    with pytest.raises(ConfigurationError):
        asyncio.run(attempts(ways))
