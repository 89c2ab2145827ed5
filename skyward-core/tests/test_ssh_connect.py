"""Who is let in, and which machine is believed to be itself, with a real server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from skyward._asking import persistently
from skyward._ssh import new_key_pair
from skyward._ssh.connect import Connection, Denied, Hopeless, connect
from skyward._ssh.hostkeys import HostKeys
from skyward._ssh.remote import run
from skyward.errors import ConfigurationError
from skyward.model.ssh import SshAddress


def does[T](work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


async def says(address: SshAddress, keys: HostKeys | None = None, script: str = "echo hello") -> list[str]:
    """What a script says there."""
    connection = await connect(address, keys or HostKeys(address))
    lines: list[str] = []
    try:
        assert await run(connection.ssh, script, {}, lines.append) == 0
    finally:
        await connection.close()
    return lines


def test_a_machine_with_the_host_key_that_it_was_given_is_talked_to(sshd: Any) -> None:
    assert does(lambda: says(sshd.address())) == ["hello"]


def test_a_machine_with_another_host_key_than_it_was_given_is_refused(sshd: Any) -> None:
    address = sshd.address(host_key=new_key_pair("other").public)
    with pytest.raises(Hopeless) as caught:
        does(lambda: says(address))
    message = str(caught.value)
    assert message.count("SHA256:") == 2
    assert "that it was given at its first boot" in message
    assert "open a new pool" in message


def test_the_key_of_the_first_contact_is_the_only_one_from_there_on(make_sshd: Any) -> None:
    server = make_sshd()
    address = server.address(host_key=None)
    keys = HostKeys(address)

    async def twice_then_impostor() -> None:
        assert await says(address, keys) == ["hello"]
        assert await says(address, keys) == ["hello"]
        server.stop()
        server.host = new_key_pair("impostor")
        server.start()
        await says(address, keys)

    with pytest.raises(Hopeless, match=r"that it had at the first contact: another machine has taken its address"):
        does(twice_then_impostor)


def test_a_first_contact_that_fails_pins_nothing(make_sshd: Any) -> None:
    server = make_sshd()
    address = server.address(host_key=None)
    keys = HostKeys(address)

    async def denied_then_another_host_key() -> list[str]:
        server.authorise(new_key_pair("somebody else's"))
        with pytest.raises(Denied):
            await says(address, keys)
        server.stop()
        server.host = new_key_pair("of the machine itself")
        server.authorise(server.key)
        server.start()
        return await says(address, keys)

    assert does(denied_then_another_host_key) == ["hello"]


def test_a_client_without_an_accepted_key_is_told_which_keys_were_tried(sshd: Any) -> None:
    with pytest.raises(Denied, match=r"does not accept the pool's own key.*IdentityFile"):
        does(lambda: says(sshd.address(key=new_key_pair("unknown"))))


def test_a_server_that_is_not_there_is_a_connection_error(sshd: Any) -> None:
    from sshd_here import free_port

    port = free_port()
    with pytest.raises(ConnectionError, match=rf"127\.0\.0\.1:{port} cannot be reached"):
        does(lambda: says(sshd.address(port=port)))


def test_a_host_key_that_is_none_is_refused_before_anything_is_sent(sshd: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a public key"):
        HostKeys(sshd.address(host_key="nonsense"))


def test_the_best_cipher_of_this_processor_is_taken_and_no_empty_packets_are_sent(sshd: Any) -> None:
    from skyward._ssh.ciphers import cipher_order

    async def look() -> tuple[str, list[int]]:
        kinds: list[int] = []
        address = sshd.address()
        connection = await connect(address, HostKeys(address))
        connection.ssh.log_sent_packet = lambda kind, *_: kinds.append(kind)  # type: ignore[method-assign]
        await run(connection.ssh, "exit 0", {}, lambda _: None)
        cipher = str(connection.ssh.get_extra_info("send_cipher"))
        await connection.close()
        return cipher, kinds

    cipher, kinds = does(look)
    assert cipher == cipher_order().removeprefix("^").partition(",")[0]
    assert 2 not in kinds


# the user's own configuration


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    def write(text: str) -> tuple[str, ...]:
        path = tmp_path / "ssh_config"
        path.write_text(text)
        return (str(path),)

    return write


def test_host_port_user_and_key_come_from_the_users_configuration(sshd: Any, config: Any, identity: Path) -> None:
    told = sshd.address()
    files = config(
        f"Host machine\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {told.username}\n"
        f"  IdentityFile {identity}.missing\n  IdentityFile {identity}\n"
    )
    address = SshAddress(host="machine", host_key=sshd.host.public, config=files)
    assert does(lambda: says(address)) == ["hello"]


def test_a_known_hosts_file_that_the_configuration_names_is_believed(
    sshd: Any, config: Any, identity: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    files = config(f"Host *\n  UserKnownHostsFile {known}\n  IdentityFile {identity}\n")
    address = sshd.address(host_key=None, key=None, config=files)
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host.public}\n")
    assert does(lambda: says(address)) == ["hello"]
    known.write_text(f"[127.0.0.1]:{sshd.port} {new_key_pair('other').public}\n")
    with pytest.raises(Hopeless, match=r"that UserKnownHostsFile has for it.*ssh-keygen -f .*/known -R"):
        does(lambda: says(address))


@pytest.mark.parametrize("named", ["none", "/dev/null"])
def test_a_configuration_cannot_turn_verification_off(sshd: Any, config: Any, named: str) -> None:
    files = config(f"Host *\n  UserKnownHostsFile {named}\n  StrictHostKeyChecking no\n")
    with pytest.raises(Hopeless):
        does(lambda: says(sshd.address(host_key=new_key_pair("other").public, config=files)))


@pytest.mark.usefixtures("agent")
def test_the_agent_is_asked_where_the_pool_has_no_key(sshd: Any, identity: Path) -> None:
    identity.unlink()
    assert does(lambda: says(sshd.address(key=None))) == ["hello"]


@pytest.fixture
def behind(sshd: Any, make_sshd: Any, config: Any, identity: Path, tmp_path: Path) -> Any:
    """A jump host that only it is told of, the lines of its configuration, and the machine behind it."""
    jump = make_sshd("AllowTcpForwarding yes")
    jump.authorise(sshd.key)
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{jump.port} {jump.host.public}\n")
    lines = (
        f"Host bastion\n  HostName 127.0.0.1\n  Port {jump.port}\n  User {sshd.address().username}\n"
        f"  IdentityFile {identity}\n  UserKnownHostsFile {known}\n"
    )
    return jump, lines, known


def test_a_machine_is_reached_through_a_jump_host(sshd: Any, behind: Any, config: Any) -> None:
    jump, lines, _ = behind
    files = config(lines + "Host 127.0.0.1\n  ProxyJump bastion\n")
    before = len([line for line in jump.log if "Accepted publickey" in line])
    assert does(lambda: says(sshd.address(config=files))) == ["hello"]
    assert len([line for line in jump.log if "Accepted publickey" in line]) == before + 1


def test_an_impostor_behind_a_jump_host_is_refused(sshd: Any, behind: Any, config: Any) -> None:
    files = config(behind[1] + "Host 127.0.0.1\n  ProxyJump bastion\n")
    with pytest.raises(Hopeless, match="another machine has taken its address"):
        does(lambda: says(sshd.address(config=files, host_key=new_key_pair("other").public)))


def test_a_jump_host_that_is_not_known_is_refused(sshd: Any, behind: Any, config: Any) -> None:
    _, lines, known = behind
    known.write_text("")
    files = config(lines + "Host 127.0.0.1\n  ProxyJump bastion\n")
    with pytest.raises(Hopeless, match=r"the jump host bastion cannot be verified.*`ssh bastion`"):
        does(lambda: says(sshd.address(config=files)))


def test_a_jump_host_is_never_left_unverified(sshd: Any, behind: Any, config: Any) -> None:
    _, lines, known = behind
    files = config(lines.replace(str(known), "none") + "Host 127.0.0.1\n  ProxyJump bastion\n")
    with pytest.raises(ConfigurationError, match=r"ssh_config, line 6: UserKnownHostsFile none"):
        does(lambda: says(sshd.address(config=files)))


def test_a_jump_host_that_leads_to_itself_is_refused(sshd: Any, behind: Any, config: Any) -> None:
    files = config(behind[1] + "  ProxyJump bastion\nHost 127.0.0.1\n  ProxyJump bastion\n")
    with pytest.raises(ConfigurationError, match=r"line 7: ProxyJump leads through itself"):
        does(lambda: says(sshd.address(config=files)))


CARRY = """
import os, socket, sys, threading
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := os.read(0, 65536):
        peer.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while data := peer.recv(65536):
    os.write(1, data)
"""


def test_a_machine_is_reached_through_a_program(sshd: Any, config: Any, tmp_path: Path) -> None:
    import sys

    (tmp_path / "carry.py").write_text(CARRY)
    files = config(f"Host 127.0.0.1\n  ProxyCommand {sys.executable} {tmp_path}/carry.py %h %p\n")
    assert does(lambda: says(sshd.address(config=files))) == ["hello"]


def test_a_program_that_is_not_there_is_named_with_its_line(sshd: Any, config: Any) -> None:
    files = config("Host 127.0.0.1\n  ProxyCommand no-such-program %h %p\n")
    with pytest.raises(ConfigurationError, match="ssh_config, line 2: the program of ProxyCommand 'no-such-program"):
        does(lambda: says(sshd.address(config=files)))


# many at once


@pytest.mark.slow
def test_64_connect_at_once_although_the_server_drops_many_that_have_not_logged_in(make_sshd: Any) -> None:
    server = make_sshd("MaxStartups 10:30:100")
    address = server.address()

    async def one() -> Connection:
        return await persistently(
            lambda: connect(address, HostKeys(address)), on=ConnectionError, attempts=5, first=0.01
        )

    async def all_at_once() -> int:
        connections = await asyncio.gather(*(one() for _ in range(64)))
        standing = len([each for each in connections if each.is_open])
        await asyncio.gather(*(each.close() for each in connections))
        return standing

    assert does(all_at_once) == 64


def test_values_and_script_reach_a_shell_unharmed(sshd: Any) -> None:
    address = sshd.address()
    values = {"A": 'it\'s "quoted" $HOME `x` \\ ::', "B": "two\nlines\n", "C": "", "D": "::\n::"}
    lines: list[str] = []

    async def show() -> int:
        connection = await connect(address, HostKeys(address))
        script = 'cat\nfor v in "$A" "$B" "$C" "$D"; do printf "%s|" "$v"; done\necho err >&2\nexit 7\n'
        status = await run(connection.ssh, script, values, lines.append)
        await connection.close()
        return status

    assert does(show) == 7
    assert "\n".join(lines) == "|".join(values.values()) + "|err"
    assert os.environ.get("A") is None
