"""Making a machine ready over SSH, and talking to its supervisor and slots, with a real server and a real script."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from ssh_machine import Ear, Machine, cut_off_and_heard_again, wait_for

from skyward.errors import BootstrapError, NodeLost
from skyward.model.bootstrap import PHASES, Step
from skyward.model.image import Image
from skyward.worker.protocol import Kind, encode, head_of


def does[T](work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


def test_a_bare_folder_becomes_a_node_and_a_second_time_changes_nothing(sshd: Any, machine: Machine) -> None:
    async def work() -> None:
        transport = machine.transport(sshd.address())
        await transport.bootstrap(Image(), machine.report)
        assert [name for name, state in machine.phases if state == "completed"] == list(PHASES)
        pid = machine.pid
        assert pid is not None
        assert os.stat(machine.folder).st_mode & 0o777 == 0o700
        await transport.bootstrap(Image(), machine.report)
        assert machine.pid == pid
        ear = Ear()
        control = await transport.open("control", ear)
        assert head_of(await ear.hears(Kind.WELCOME))["pid"] == pid
        control.send(encode(Kind.PING))
        await ear.hears(Kind.PONG)
        await transport.close()
        await ear.lost.wait()
        os.kill(pid, 0)  # it outlives the connection

    does(work)


def test_no_secret_stands_on_a_command_line_or_in_an_environment(sshd: Any, machine: Machine) -> None:
    seen: list[bytes] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for entry in os.listdir("/proc"):
                if entry.isdigit() and int(entry) != os.getpid():
                    try:
                        seen.append(Path(f"/proc/{entry}/cmdline").read_bytes())
                    except OSError:
                        continue

    watcher = threading.Thread(target=look)
    watcher.start()

    async def work() -> None:
        transport = machine.transport(sshd.address())
        image = Image(env={"TOKEN": "s3cr3t-s3cr3t"})
        await transport.bootstrap(image, machine.report, [Step("look", "sleep 0")])
        await transport.close()

    try:
        does(work)
        environment = Path(f"/proc/{machine.pid}/environ").read_bytes()
    finally:
        stop.set()
        watcher.join()
    told = machine.identity.token.hex().encode()
    assert not [line for line in seen if told in line or b"s3cr3t" in line]
    assert told not in environment


def test_a_phase_that_fails_is_named_with_its_command_and_its_last_lines(sshd: Any, machine: Machine) -> None:
    async def work() -> None:
        transport = machine.transport(sshd.address())
        step = Step("drivers", 'echo "disk is s3cr3t-s3cr3t full" >&2\nrun ls /nowhere-at-all')
        try:
            await transport.bootstrap(Image(env={"TOKEN": "s3cr3t-s3cr3t"}), machine.report, [step])
        finally:
            await transport.close()

    with pytest.raises(BootstrapError) as caught:
        does(work)
    assert caught.value.phase == "drivers"
    assert caught.value.command == "ls /nowhere-at-all"
    assert "disk is *** full" in caught.value.output
    assert "nowhere-at-all" in caught.value.output
    assert machine.pid is None


def test_a_worker_that_does_not_start_is_told_with_its_own_words(sshd: Any, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "cloudpickle.py").write_text("raise RuntimeError('not this one')")

    async def work() -> None:
        transport = machine.transport(sshd.address())
        try:
            await transport.bootstrap(Image(), machine.report, [Step("elsewhere", f"export PYTHONPATH={tmp_path}")])
        finally:
            await transport.close()

    with pytest.raises(BootstrapError, match="RuntimeError: not this one") as caught:
        does(work)
    assert (caught.value.phase, caught.value.command) == ("server", "skyward-node")
    assert machine.pid is None


def test_a_connection_that_is_cut_in_the_middle_is_made_again_and_the_script_goes_on(
    sshd: Any, machine: Machine, make_relay: Any
) -> None:
    relay = make_relay(sshd.port)
    marks = Path(machine.home)
    step = Step(
        "slow",
        f"echo begun >>{marks}/begun\nif [ ! -e {marks}/cut ]; then touch {marks}/wait; "
        f"while [ ! -e {marks}/cut ]; do sleep 0.05; done; fi",
    )

    def report(phase: str, state: str, seconds: float | None) -> None:
        machine.report(phase, state, seconds)
        if (phase, state) == ("slow", "started") and relay.cuts == 0:
            relay.cut()
            (marks / "cut").touch()

    async def work() -> None:
        transport = machine.transport(sshd.address(port=relay.port))
        await transport.bootstrap(Image(), report, [step])
        await transport.close()

    does(work)
    assert relay.connections == 2
    assert machine.pid is not None


def test_an_upload_that_is_cut_leaves_no_half_archive(
    sshd: Any, machine: Machine, make_relay: Any, tmp_path: Path
) -> None:
    relay = make_relay(sshd.port, lambda number: (200_000, None) if number == 0 else (None, None))
    root = tmp_path / "root"

    async def work() -> None:
        transport = machine.transport(sshd.address(port=relay.port), root=str(root))
        stop = Step("stop", "run false")
        with pytest.raises(BootstrapError):
            await transport.bootstrap(Image(), machine.report, [stop])
        await transport.close()

    does(work)
    assert relay.cuts == 1
    assert relay.connections == 2
    assert ("skyward", "completed") in machine.phases
    assert [path.name for path in root.glob("payload.tar.gz*")] == ["payload.tar.gz"]


def test_a_link_that_is_cut_is_lost_and_opened_again_over_a_new_connection(
    sshd: Any, machine: Machine, make_relay: Any
) -> None:
    relay = make_relay(sshd.port)

    async def work() -> None:
        transport = machine.transport(sshd.address(port=relay.port))
        await cut_off_and_heard_again(transport, machine, relay)
        assert relay.connections == 2
        await transport.close()

    does(work)


def test_a_supervisor_that_has_ended_is_told_from_one_that_cannot_be_reached(
    sshd: Any, machine: Machine, make_relay: Any
) -> None:
    async def work() -> None:
        transport = machine.transport(sshd.address())
        await transport.bootstrap(Image(), machine.report)
        with pytest.raises(ConnectionError, match="slot-7 of machine cannot be reached"):
            await transport.open("slot-7", Ear())
        assert machine.pid is not None
        ear = Ear()
        await transport.open("control", ear)
        descriptor = os.pidfd_open(machine.pid)
        with open(f"{machine.folder}.log", "w") as log:  # noqa: ASYNC230  a file of a few bytes
            log.write("the last words\n")
        os.kill(machine.pid, signal.SIGKILL)
        await asyncio.to_thread(wait_for, descriptor)
        await ear.lost.wait()
        with pytest.raises(NodeLost, match="the supervisor of machine has ended:\nthe last words"):
            await transport.open("control", Ear())
        await transport.close()

    does(work)


def test_an_impostor_at_a_reconnection_is_a_lost_node_with_the_reason(make_sshd: Any, machine: Machine) -> None:
    from skyward._ssh import new_key_pair

    server = make_sshd()

    async def work() -> None:
        transport = machine.transport(server.address(host_key=None))
        await transport.bootstrap(Image(), machine.report)
        ear = Ear()
        await transport.open("control", ear)
        server.stop()
        server.host = new_key_pair("impostor")
        server.start()
        await ear.lost.wait()
        try:
            await transport.open("control", Ear())
        finally:
            await transport.close()

    with pytest.raises(NodeLost, match="another machine has taken its address"):
        does(work)


def test_a_server_that_forwards_no_sockets_is_reported_with_its_setting(make_sshd: Any, machine: Machine) -> None:
    server = make_sshd("AllowStreamLocalForwarding no")

    async def work() -> None:
        transport = machine.transport(server.address())
        try:
            await transport.bootstrap(Image(), machine.report)
        finally:
            await transport.close()

    with pytest.raises(BootstrapError, match="AllowStreamLocalForwarding yes"):
        does(work)


def test_what_the_machine_says_meanwhile_is_logged_without_secrets(
    sshd: Any, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        transport = machine.transport(sshd.address())
        with caplog.at_level(logging.DEBUG, "skyward.ssh"):
            await transport.bootstrap(
                Image(env={"TOKEN": "s3cr3t-s3cr3t"}), machine.report, [Step("talk", 'echo "with $TOKEN"')]
            )
        await transport.close()

    does(work)
    assert "talk: with ***" in caplog.text
    assert "s3cr3t" not in caplog.text
