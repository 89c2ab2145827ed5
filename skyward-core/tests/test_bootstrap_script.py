"""The script that makes a machine a node: its text, and what it does in a folder of this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from skyward._payload import archive
from skyward._uv import base_python, find_uv
from skyward.errors import ConfigurationError
from skyward.model.bootstrap import PHASES, Progress, Step, parse_progress, script
from skyward.model.image import Image, client_python

FULL = Image(
    pip=["six", "private @ https://${TOKEN}@example.org/private-1.0-py3-none-any.whl"],
    apt=["ffmpeg", "libgl1"],
    env={"TOKEN": "hush-hush"},
    pip_extra_index_url="https://reader:s3cr3t@pypi.example.org/simple",
)
VARIANTS = [
    (Image(), 0, ()),
    (FULL, 3600, ()),
    (FULL, 0, (Step("drivers", "echo drivers\n"), Step("volumes", 'mkdir -p "$root/volumes/data"'))),
]


@pytest.mark.parametrize(("image", "ttl", "steps"), VARIANTS)
@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_the_script_parses_in_every_shell(
    shell: str, image: Image, ttl: int, steps: tuple[Step, ...], require: Any
) -> None:
    program = require.command(shell)
    text = image.bootstrap(ttl, steps=steps)
    done = subprocess.run([program, "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("image", "ttl", "steps"), VARIANTS)
def test_shellcheck_finds_nothing(image: Image, ttl: int, steps: tuple[Step, ...], require: Any) -> None:
    program = require.command("shellcheck")
    text = image.bootstrap(ttl, steps=steps)
    done = subprocess.run([program, "--shell=sh", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_script_holds_no_secret() -> None:
    text = FULL.bootstrap(ttl=60)
    for secret in ("hush", "reader", "s3cr3t"):
        assert secret not in text
    assert "pypi.example.org" in text


def test_the_script_is_the_same_every_time_and_names_its_phases_in_order() -> None:
    script = FULL.bootstrap()
    assert FULL.bootstrap() == script
    begun = [line.split()[2] for line in script.splitlines() if line.startswith("if begin ")]
    assert begun == list(PHASES)


def test_a_ttl_in_the_past_and_a_step_without_a_proper_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="ttl=-1"):
        Image().bootstrap(-1)
    with pytest.raises(ConfigurationError, match="step's name"):
        Step("rm -rf", "true")


def test_progress_is_told_apart_from_other_output() -> None:
    assert parse_progress("::skyward:: deps started \n") == Progress("deps", "started")
    assert parse_progress("::skyward:: deps completed 12") == Progress("deps", "completed", 12.0)
    assert parse_progress("::skyward:: deps kept") == Progress("deps", "kept")
    assert parse_progress("::skyward:: apt failed apt-get install x") == Progress(
        "apt", "failed", command="apt-get install x"
    )
    assert parse_progress("Resolved 3 packages in 5ms") is None
    assert parse_progress("") is None


# What uv does as far as the later phases look at it: an environment with a Python of its own.
UV = "case $1 in --version) echo uv 99.1.2;; esac"
VENV = f'{UV}\ncase $1 in venv) shift 4; exec {base_python()} -m venv --without-pip "$@";; esac'


class Machine:
    """A folder that stands for a machine. Its programs write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.programs = folder / "programs"
        self.calls = folder / "calls"
        self.programs.mkdir()
        self.root.mkdir()
        self.calls.touch()
        self.upload(b"")
        self.program("apt-get", "")
        self.program("sleep", "")
        self.program("sudo", 'shift 2; exec "$@"')
        # It runs beside the script: whoever reads this waits until it was called.
        self.armed = folder / "armed"
        os.mkfifo(self.armed)
        self.program("setsid", f'echo "$@" >{self.armed}')
        self.program("uv", VENV)

    def program(self, name: str, body: str) -> None:
        file = self.programs / name
        file.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.calls}\n{body}\n')
        file.chmod(0o755)

    def upload(self, extra: bytes) -> None:
        (self.root / "payload.tar.gz").write_bytes(archive() + extra)

    def run(self, image: Image, *, ttl: int = 0, steps: tuple[Step, ...] = ()) -> tuple[int, list[Progress], str]:
        self.calls.write_text("")
        # How this machine reaches the package index: certificates, proxies, mirrors.
        env = {name: value for name, value in os.environ.items() if name.startswith("SSL_") or "PROXY" in name.upper()}
        env |= {name: value for name, value in os.environ.items() if name.startswith("UV_")}
        env |= {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "SKYWARD_ROOT": str(self.root),
            "SKYWARD_RUN": str(self.root / "run"),
            "HOME": str(self.root),
            **image.install_variables(),
        }
        done = subprocess.run(
            ["sh"], input=image.bootstrap(ttl, steps=steps), env=env, capture_output=True, text=True, check=False
        )
        progress = [found for found in map(parse_progress, done.stdout.splitlines()) if found]
        return done.returncode, progress, done.stdout + done.stderr

    def called(self, program: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if line.split()[0] == program]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def states(progress: list[Progress], state: str) -> list[str]:
    return [found.step for found in progress if found.state == state]


def test_the_phases_run_once_and_a_second_run_keeps_them_all(machine: Machine) -> None:
    code, progress, output = machine.run(FULL)
    assert code == 0, output
    assert states(progress, "started") == states(progress, "completed") == list(PHASES)
    assert "ffmpeg libgl1" in machine.called("apt-get")[1]
    code, progress, output = machine.run(FULL)
    assert code == 0, output
    assert states(progress, "kept") == list(PHASES)
    assert machine.calls.read_text() == ""


def test_what_a_script_of_the_first_phases_has_made_the_whole_one_keeps(machine: Machine) -> None:
    first = PHASES[:3]
    environment = {"PATH": f"{machine.programs}:/usr/bin:/bin", "SKYWARD_ROOT": str(machine.root)}
    begun = script(Image(), phases=first)
    subprocess.run(["sh"], input=begun, env=environment, capture_output=True, text=True, check=True)
    code, progress, output = machine.run(Image())
    assert code == 0, output
    assert states(progress, "kept") == list(first)


def test_no_secret_stands_on_a_command_line_or_in_a_file(machine: Machine) -> None:
    code, _, output = machine.run(FULL)
    assert code == 0, output
    written = [output, machine.calls.read_text()]
    written += [path.read_text() for path in machine.root.glob("*.txt")]
    for secret in ("hush", "s3cr3t"):
        assert secret not in "".join(written)
    assert "${TOKEN}" in (machine.root / "requirements.txt").read_text()


def test_a_phase_that_fails_names_its_command_and_is_run_again_with_what_follows_it(machine: Machine) -> None:
    machine.program("apt-get", "echo no such package; exit 100")
    code, progress, output = machine.run(FULL)
    assert code == 100
    assert progress[-1].step == "apt"
    assert progress[-1].state == "failed"
    assert "apt-get" in progress[-1].command
    assert "no such package" in output
    machine.program("apt-get", "")
    code, progress, output = machine.run(FULL)
    assert code == 0, output
    assert states(progress, "kept") == ["uv"]
    assert states(progress, "completed") == list(PHASES[1:])


@pytest.mark.parametrize(
    ("phase", "program", "call"),
    [("deps", "uv", "pip*"), ("skyward", "tar", "*"), ("server", "chmod", "*"), ("volumes", "mkdir", "*/volumes")],
)
def test_a_script_whose_shell_is_killed_in_a_phase_is_whole_after_the_next_run(
    machine: Machine, phase: str, program: str, call: str
) -> None:
    instead = VENV if program == "uv" else f'exec /usr/bin/{program} "$@"'
    machine.program(program, f'case "$*" in {call}) kill -9 $PPID; exit 1;; esac\n{instead}')
    code, progress, _ = machine.run(Image())
    assert (code, progress[-1]) == (-9, Progress(phase, "started"))
    machine.program(program, instead)
    code, progress, output = machine.run(Image())
    assert code == 0, output
    done = PHASES.index(phase)
    assert states(progress, "kept") == list(PHASES[:done])
    assert states(progress, "completed") == list(PHASES[done:])


def test_a_change_of_the_packages_redoes_them_and_what_is_built_on_them(machine: Machine) -> None:
    assert machine.run(Image(pip=["six"]))[0] == 0
    machine.program("uv", f"{UV}\ncase $1 in pip) exit 2;; esac")
    assert machine.run(Image(pip=["nothing-of-the-kind"]))[0] != 0
    machine.program("uv", VENV)
    # Back to the first image: what it had made is gone, so the markers of the later phases must be gone too.
    _, progress, _ = machine.run(Image(pip=["six"]))
    assert states(progress, "kept") == ["uv", "apt"]
    assert states(progress, "completed") == ["deps", "skyward", "server", "volumes"]


def test_another_archive_is_unpacked_without_building_the_environment_again(machine: Machine) -> None:
    assert machine.run(Image())[0] == 0
    machine.upload(b"\0")
    _, progress, _ = machine.run(Image())
    assert states(progress, "kept") == ["uv", "apt", "deps"]
    assert "skyward" in states(progress, "completed")


def test_a_missing_archive_is_named(machine: Machine) -> None:
    (machine.root / "payload.tar.gz").unlink()
    code, progress, output = machine.run(Image())
    assert code == 1
    assert progress[-1].step == "skyward"
    assert "payload.tar.gz is missing" in output


def test_the_node_imports_the_clients_skyward_first_and_its_own_packages_before_those_that_came_along(
    machine: Machine,
) -> None:
    assert machine.run(Image())[0] == 0
    launcher = (machine.root / "bin" / "skyward-node").read_text()
    assert f'PYTHONPATH="{machine.root}/payload/front' in launcher
    code = "import sys, skyward, attrs; print(skyward.__file__, attrs.__file__, sys.path[-1])"
    done = subprocess.run(
        [machine.root / "venv" / "bin" / "python", "-c", code],
        env={"PYTHONPATH": str(machine.root / "payload" / "front")},
        capture_output=True,
        text=True,
        check=True,
    )
    payload = f"{machine.root}/payload"
    skyward, attrs, last = done.stdout.split()
    assert skyward.startswith(f"{payload}/front/")
    assert attrs.startswith(f"{payload}/back/")
    assert last == f"{payload}/back"


def test_further_steps_run_last_or_join_the_phase_of_their_name(machine: Machine) -> None:
    steps = (Step("drivers", 'touch "$root/drivers"'), Step("volumes", 'mkdir "$root/volumes/data"'))
    code, progress, output = machine.run(Image(), steps=steps)
    assert code == 0, output
    assert states(progress, "completed") == [*PHASES, "drivers"]
    assert (machine.root / "drivers").exists()
    assert (machine.root / "volumes" / "data").is_dir()
    assert states(machine.run(Image(), steps=steps)[1], "kept") == [*PHASES, "drivers"]


def test_a_ttl_arms_a_shutdown_before_anything_else_and_a_second_run_does_not_move_it(machine: Machine) -> None:
    machine.program("apt-get", "exit 1")
    machine.run(FULL, ttl=90)
    assert "sleep 90; shutdown -h now" in machine.armed.read_text()
    deadline = (machine.root / "run" / "ttl").read_text()
    machine.run(FULL, ttl=9000)
    assert (machine.root / "run" / "ttl").read_text() == deadline
    (machine.root / "run" / "ttl").write_text("another-start 17\n")  # as a snapshot of the machine would have it
    machine.run(FULL, ttl=700)
    assert "sleep 700; shutdown -h now" in machine.armed.read_text()


def test_without_a_ttl_nothing_is_armed(machine: Machine) -> None:
    machine.run(Image())
    assert not (machine.root / "run" / "ttl").exists()
    assert "shutdown" not in Image().bootstrap()


@pytest.mark.slow
def test_with_the_real_uv_the_node_has_its_packages(machine: Machine) -> None:
    (machine.programs / "uv").unlink()
    (machine.programs / "uv").symlink_to(asyncio.run(find_uv()))
    (machine.programs / f"python{client_python()}").symlink_to(base_python())
    code, progress, output = machine.run(Image(pip=["iniconfig"]))
    assert code == 0, output
    assert states(progress, "completed") == list(PHASES)
    python = machine.root / "venv" / "bin" / "python"
    subprocess.run([python, "-c", "import iniconfig, psutil, pynvml"], check=True)
