"""What vendors sell in the tests can be logged in to, and behaves as each vendor's does. On real containers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import asyncssh
import pytest
from fakes import Reply, Request, VendorServer, route
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.machines import FakeMachine, FakeMachines
from fakes.yard import Yard

from skyward.spi import first_boot_script, new_key_pair

pytestmark = pytest.mark.containers

KEY = new_key_pair("client")
PORT = 40022


@pytest.fixture
def machines(vendor_yard: Yard) -> Iterator[FakeMachines]:
    """A vendor's machines, empty."""
    made = FakeMachines("test", vendor_yard)
    yield made
    assert not made.problems
    made.clear()


async def log_in(machine: FakeMachine, host_key: str | None = None) -> asyncssh.SSHClientConnection:
    """A connection as root, as soon as there is a server; of any host key, where none is given."""
    trusted = f"[{machine.host}]:{machine.port} {host_key}\n{machine.host} {host_key}".encode() if host_key else None
    options: Any = {"config": None, "agent_path": None, "known_hosts": trusted}
    client = asyncssh.import_private_key(KEY.private)
    async with asyncio.timeout(120):
        while True:
            try:
                return await asyncssh.connect(
                    machine.host, machine.port, username="root", client_keys=[client], **options
                )
            except (OSError, asyncssh.ConnectionLost):
                await asyncio.sleep(0.1)  # it boots


def ssh(machine: FakeMachine, command: str, host_key: str | None = None) -> str:
    """What a command prints."""

    async def run() -> str:
        async with await log_in(machine, host_key) as connection:
            done = await connection.run(command)
        return str(done.stdout)

    return asyncio.run(run())


def host_key(machine: FakeMachine) -> str:
    """The host key that its server shows."""

    async def look() -> str:
        async with await log_in(machine) as connection:
            key = connection.get_server_host_key()
        assert key is not None
        return key.export_public_key().decode().strip()

    return asyncio.run(look())


class Pods(VendorServer):
    """A vendor whose machines may end themselves."""

    def __init__(self, machines: FakeMachines) -> None:
        self.machines = machines
        self.ended = threading.Event()
        super().__init__(machines.address)

    @route("DELETE", "/pods/{id}")
    def delete(self, request: Request) -> Reply:
        if request.bearer != self.machines[request.args["id"]].env["POD_KEY"]:
            return Reply(401)
        self.machines.end(request.args["id"])
        self.ended.set()
        return Reply(204)


def test_a_pod_runs_its_command_with_its_environment_and_ends_itself_by_the_vendors_interface(
    machines: FakeMachines,
) -> None:
    with Pods(machines) as vendor:
        end = f'curl -fsS -X DELETE -H "Authorization: Bearer $POD_KEY" {vendor.endpoint}/pods/$POD_ID'
        switch = first_boot_script(lifetime=1.0, lease=None, end=end)
        armed = f"(until [ -e /go ]; do sleep 0.1; done\n{switch}) &"
        pod = machines.start(
            "p1",
            args=("bash", "-c", f"{armed} echo prepared >/prepared; exec /start.sh"),
            env={"PUBLIC_KEY": KEY.public, "POD_ID": "p1", "POD_KEY": "of this pod", "LINES": "one\ntwo"},
            port=PORT,
        )
        assert ssh(pod, 'cat /prepared; echo "<$POD_ID>"; cat /proc/1/comm') == "prepared\n<>\nstart.sh\n"
        assert "LINES=one\ntwo\0" in pod.sh("cat /proc/1/environ")
        assert pod.sh(". /etc/rp_environment; echo $POD_ID") == "p1\n"
        pod.sh("touch /go")
        assert vendor.ended.wait(120), pod.logs()
        (asked,) = vendor.asked()
        assert (asked.method, asked.path, asked.status) == ("DELETE", "/pods/p1", 204)
        assert pod.over


def test_a_pod_without_a_command_or_a_key_is_that_of_its_image(machines: FakeMachines) -> None:
    pod = machines.start("p1", args=(), env={"PUBLIC_KEY": KEY.public}, port=PORT)
    shut = machines.start("p2", args=(), port=PORT)
    own = machines.start("p3", args=("sleep", "infinity"), env={"PUBLIC_KEY": KEY.public}, port=PORT)
    servers = "grep -sxc sshd /proc/[0-9]*/comm | grep -c ':1$' || true"
    assert ssh(pod, "whoami") == "root\n"
    assert pod.sh(servers) == "1\n"
    for each in (shut, own):
        assert each.sh(servers) == "0\n", "nobody has started one"


def test_a_hosts_container_lets_in_keys_that_come_later_and_runs_its_script_behind_the_server(
    machines: FakeMachines,
) -> None:
    box = machines.start(
        "7", onstart="echo $CONTAINER_ID >/root/new; mv /root/new /root/told", env={"CONTAINER_ID": "7"}
    )
    with pytest.raises(asyncssh.PermissionDenied):
        ssh(box, "true")
    box.authorize(KEY.public)
    assert ssh(box, "while [ ! -e told ]; do sleep 0.1; done; cat told; echo $CONTAINER_ID") == "7\n\n"
    before = host_key(box)
    box.change_host_key()
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        ssh(box, "true", before)
    box.freeze()
    with socket.create_connection((box.host, box.port), 60) as silent:
        silent.settimeout(0.5)
        with pytest.raises(TimeoutError):
            silent.recv(1)
    box.thaw()
    assert ssh(box, "whoami") == "root\n"


def test_a_machine_does_what_its_script_and_its_user_data_say_and_tells_when_it_has_shut_down(
    machines: FakeMachines,
) -> None:
    ended: list[str] = []
    over = threading.Event()

    def tell(name: str) -> None:
        ended.append(name)
        over.set()

    host = new_key_pair("host")
    private = "\n".join(f"    {line}" for line in host.private.splitlines())
    data = f"#cloud-config\nssh_keys:\n  ed25519_private: |\n{private}\n  ed25519_public: {host.public}\n"
    machine = machines.start(
        "d1",
        authorized=[KEY.public],
        user_data=f"{data}bootcmd: ['echo early >/early']\n".encode(),
        script="#!/bin/sh\necho $USER >/new; mv /new /late",
        ended=tell,
    )
    assert machine.port == 22
    wait = "while [ ! -e /late ]; do sleep 0.1; done"
    assert (
        ssh(machine, f"cat /early; {wait}; wc -l </late; command -v curl", host.public) == "early\n1\n/usr/bin/curl\n"
    )
    machine.sh("shutdown -h now")
    assert over.wait(120)
    machines.kill("d1")
    machines.end("d1")
    assert ended == ["d1"], "it is told once"


def test_a_machine_that_is_held_boots_late_and_one_that_is_killed_or_ended_meanwhile_never(
    machines: FakeMachines,
) -> None:
    go, told = threading.Event(), list[str]()
    machines.next(hold=go, times=3)
    late, killed, ended = (machines.start(name, authorized=[KEY.public], ended=told.append) for name in "abc")
    for each in (late, killed, ended):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((each.host, each.port))
    machines.kill("b")
    machines.end("c")
    assert told == ["b"]
    go.set()
    assert ssh(late, "whoami") == "root\n"
    for each in (killed, ended):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((each.host, each.port))


def test_an_impostor_answers_in_place_of_a_machine_that_has_another_host_key(machines: FakeMachines) -> None:
    host = new_key_pair("host")
    keys = {"ssh_keys": {"ed25519_private": host.private, "ed25519_public": host.public}}
    data = f"#cloud-config\n{keys}".replace("'", '"').encode()
    machines.next(impostor=True)
    false, true = (machines.start(name, authorized=[KEY.public], user_data=data) for name in "ab")
    assert ssh(true, "whoami", host.public) == "root\n"
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        ssh(false, "whoami", host.public)
    assert false.sh("cat /etc/ssh/ssh_host_ed25519_key.pub") == host.public.strip() + "\n", "it has what it was given"


def test_user_data_that_nobody_understands_is_a_problem(vendor_yard: Yard) -> None:
    made = FakeMachines("odd", vendor_yard)
    made.start("1", user_data=b"#cloud-config\nfly: true\n")
    (problem,) = made.problems
    assert problem == "odd-1: the rig does not know the key 'fly' of a cloud-config"
    assert not FakeMachines("od", vendor_yard).problems, "it is no other vendor's"
    made.clear()
    assert not made.problems
