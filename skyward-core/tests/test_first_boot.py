"""The dead man's switch of a rented machine, run by real shells on a clock that the tests set."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyward._ssh.connect import _LISTEN
from skyward.errors import ConfigurationError
from skyward.model import first_boot
from skyward.model.first_boot import NODE_FOLDER, WORD, first_boot_script

_SLEEP = """#!/bin/sh
printf s >{folder}/asleep
read -r _ <{folder}/awake
"""


class Machine:
    """A folder in place of /run/skyward, a file in place of /proc/uptime, and a `sleep` that ends when it is told."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.run = folder / "run"
        self.ends = folder / "ends"
        self._folder = folder
        self._shell = shell
        self._now = 1000
        (folder / "bin").mkdir()
        for name in ("setsid", "chown", "mkdir", "cat", "touch", "kill"):
            (folder / "bin" / name).symlink_to(str(shutil.which(name)))
        (folder / "bin" / "sh").symlink_to(shell)
        sleep = folder / "bin" / "sleep"
        sleep.write_text(_SLEEP.format(folder=folder))
        sleep.chmod(0o755)
        for name in ("asleep", "awake"):
            os.mkfifo(folder / name)
        self._asleep, self._awake = (os.open(folder / name, os.O_RDWR) for name in ("asleep", "awake"))
        self._set()

    def _set(self) -> None:
        (self._folder / "uptime").write_text(f"{self._now}.37 4.21\n")

    def here(self, text: str) -> str:
        """A script with this machine's paths."""
        return text.replace("/run/skyward", str(self.run)).replace("/proc/uptime", str(self._folder / "uptime"))

    def boots(self, **limits: Any) -> None:
        """Run the script as a first boot does, up to the switch's first rest."""
        script = first_boot_script(end=f"echo x >>{self.ends}", user=getpass.getuser(), **limits)
        subprocess.run([self._shell, "-c", self.here(script)], env=self.environment, check=True)
        self.rests()

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self._folder / "bin")}

    def rests(self) -> None:
        assert os.read(self._asleep, 1) == b"s"

    def passes(self, seconds: int, step: int = 4) -> None:
        """Let time go by; the switch looks after each step."""
        while seconds:
            self._now += min(step, seconds)
            seconds -= min(step, seconds)
            self._set()
            os.write(self._awake, b"\n")
            self.rests()

    def hears_a_word(self) -> None:
        """What the session of a client's connection does with a line."""
        subprocess.run([self._shell, "-c", self.here(_LISTEN)], input=b"\n", env=self.environment, check=True)

    def supervised(self, pid: int) -> None:
        (self.run / "node").mkdir(exist_ok=True)
        (self.run / "node" / "pid").write_text(f"{pid}\n")

    @property
    def ended(self) -> bool:
        return self.ends.exists()

    def close(self) -> None:
        os.killpg(int((self.run / "switch.pid").read_text()), signal.SIGKILL)
        os.close(self._asleep)
        os.close(self._awake)


@pytest.fixture(params=["dash", "bash"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, require: Any) -> Iterator[Machine]:
    made = Machine(tmp_path, require.command(request.param))
    yield made
    made.close()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One that runs until it is killed."""
    made = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield made
    made.kill()
    made.communicate()


def test_a_machine_that_nobody_comes_to_ends_when_the_lease_does(machine: Machine) -> None:
    machine.boots(lifetime=1000, lease=60)
    machine.passes(59)
    assert not machine.ended
    machine.passes(1)
    assert machine.ended


def test_what_ends_it_is_tried_again_until_it_has(machine: Machine) -> None:
    machine.boots(lifetime=None, lease=10)
    machine.passes(30)
    assert machine.ends.read_text().count("x") > 2


def test_each_word_renews_the_lease_but_not_the_deadline(machine: Machine) -> None:
    machine.boots(lifetime=300, lease=20)
    for _ in range(18):
        machine.passes(16)
        machine.hears_a_word()
    assert not machine.ended
    machine.passes(12)
    assert machine.ended


@pytest.mark.parametrize("word", ["", "99999", "soon", "1000 0", "-1"])
def test_nonsense_is_no_word(machine: Machine, word: str) -> None:
    machine.boots(lifetime=None, lease=20)
    for _ in range(5):
        (machine.run / "word").write_text(f"{word}\n")
        machine.passes(4)
    assert machine.ended


def test_without_limits_it_goes_on(machine: Machine) -> None:
    machine.boots(lifetime=None, lease=None)
    machine.passes(400)
    assert not machine.ended


def test_the_supervisor_takes_both_limits_over_and_the_machine_ends_after_it(
    machine: Machine, process: subprocess.Popen[bytes]
) -> None:
    machine.boots(lifetime=100, lease=20)
    machine.supervised(process.pid)
    machine.passes(200)
    assert not machine.ended
    process.kill()
    process.wait()
    shutil.rmtree(machine.run / "node")
    machine.passes(4, step=1)
    assert not machine.ended  # for as long as its client may ask for its last words
    machine.passes(1)
    assert machine.ended


def test_a_supervisor_that_is_killed_counts_as_ended_although_nobody_has_waited_for_it(
    machine: Machine, process: subprocess.Popen[bytes]
) -> None:
    machine.boots(lifetime=None, lease=None)
    machine.supervised(process.pid)
    machine.passes(4)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    machine.passes(5, step=1)
    assert machine.ended


def test_a_supervisor_that_is_stopped_keeps_nothing(machine: Machine, process: subprocess.Popen[bytes]) -> None:
    machine.boots(lifetime=1000, lease=20)
    machine.supervised(process.pid)
    machine.passes(40)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    machine.passes(16)
    assert not machine.ended
    machine.passes(8)
    assert machine.ended


def test_a_pause_of_the_whole_machine_is_not_held_against_its_client(machine: Machine) -> None:
    machine.boots(lifetime=5000, lease=20)
    machine.passes(16)
    machine.passes(1000, step=1000)
    assert not machine.ended
    machine.passes(4)
    assert machine.ended


def test_a_second_run_starts_no_second_switch_and_moves_nothing(machine: Machine) -> None:
    machine.boots(lifetime=1000, lease=20)
    first = (machine.run / "switch.pid").read_text()
    machine.passes(16)
    script = first_boot_script(lifetime=1000, lease=20)
    subprocess.run(["sh", "-c", machine.here(script)], check=True)
    assert (machine.run / "switch.pid").read_text() == first
    machine.passes(4)
    assert machine.ended


def test_the_word_can_be_said_by_whom_the_client_logs_in_as(machine: Machine) -> None:
    machine.boots(lifetime=None, lease=20)
    machine.passes(1)
    assert (machine.run / "word").owner() == getpass.getuser()
    assert (machine.run / "word").stat().st_mode & 0o777 == 0o644


def test_a_machine_without_a_switch_is_left_as_it_is(tmp_path: Path) -> None:
    script = _LISTEN.replace(WORD, str(tmp_path / "word"))
    subprocess.run(["sh", "-c", script], input=b"\n\n", check=True)
    assert not (tmp_path / "word").exists()


@pytest.mark.parametrize("limit", ["lifetime", "lease"])
def test_a_limit_that_has_passed_is_refused(limit: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{limit}=0 is in the past"):
        first_boot_script(**({"lifetime": None, "lease": None} | {limit: 0}))  # type: ignore[arg-type]


def test_what_ends_the_machine_and_whose_it_is_are_quoted() -> None:
    script = first_boot_script(lifetime=1, lease=None, user="a b", end="echo 'it is over'")
    assert """1 '' 'a b' 'echo '"'"'it is over'"'"''""" in script


def test_the_folder_of_the_node_is_the_one_that_is_looked_into() -> None:
    assert NODE_FOLDER == "/run/skyward/node"
    assert "run=/run/skyward\n" in first_boot._SWITCH
    assert "$run/node/pid" in first_boot._SWITCH


def test_the_shell_text_is_sound(require: Any) -> None:
    for text in (first_boot._SWITCH, first_boot_script(lifetime=10, lease=5)):
        subprocess.run([require.command("shellcheck"), "-s", "sh", "-"], input=text.encode(), check=True)
        for shell in ("dash", "bash"):
            subprocess.run([require.command(shell), "-n"], input=text.encode(), check=True)
