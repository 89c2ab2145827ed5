"""How a machine that lacks uv, Python or a downloader gets them: the script's text, among programs of the test's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from package_index import PackageIndex, wheel_of_uv

from skyward.model.bootstrap import parse_progress, script
from skyward.model.image import Image

# What Debian and Ubuntu count as essential, as far as the script uses it. Everything else a test must put there.
ESSENTIAL = (
    *("cat", "chmod", "cp", "cut", "date", "dirname", "env", "flock", "grep", "head", "id", "ldd", "ln", "mkdir", "mv"),
    *("od", "rm", "sed", "setsid", "sh", "sha256sum", "sort", "tail", "tar", "timeout", "touch", "tr", "true"),
    *("uname", "wc"),
)
UV = b'#!/bin/sh\ncase $1 in --version) echo "uv %s";; esac\n'


class Shell:
    """The first phases of the script, with PATH made of a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.programs = folder / "root", folder / "programs"
        self.calls = folder / "calls"
        self.programs.mkdir()
        self.calls.touch()
        for name in ESSENTIAL:
            path = shutil.which(name)
            assert path, name
            (self.programs / name).symlink_to(path)
        self.program("sleep", "")

    def program(self, name: str, body: str) -> None:
        """A program of shell text, which notes its calls first."""
        file = self.programs / name
        file.unlink(missing_ok=True)
        file.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.calls}\n{body}\n')
        file.chmod(0o755)

    def real(self, name: str) -> None:
        """The program of this machine, whose calls are noted."""
        path = sys.executable if name == "python3" else shutil.which(name)
        assert path, name
        self.program(name, f'exec {path} "$@"')

    def run(self, *phases: str, image: Image | None = None, **variables: str) -> tuple[int, str]:
        text = script(image or Image(), phases=phases or ("uv",))
        environment = {"PATH": str(self.programs), "SKYWARD_ROOT": str(self.root), "HOME": str(self.root), **variables}
        done = subprocess.run(
            ["/bin/sh"], input=text, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout + done.stderr

    def called(self, program: str = "") -> list[str]:
        lines = self.calls.read_text().splitlines()
        return [line for line in lines if not program or line.split()[0] == program]

    def version(self) -> str:
        return subprocess.run([self.root / "bin" / "uv", "--version"], capture_output=True, text=True).stdout.strip()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    made = PackageIndex()
    for version in ("0.9.30", "0.12.1", "0.12.0"):
        made.add(wheel_of_uv(UV % version.encode(), version))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _this_machine_is_an_x86_64(shell: Shell) -> None:
    shell.program("uname", "echo x86_64")


@pytest.mark.parametrize("links", ["relative", "rooted", "absolute"])
@pytest.mark.parametrize("program", ["curl", "wget", "python3"])
def test_uv_comes_from_an_index_by_whatever_program_is_there(
    shell: Shell, index: PackageIndex, program: str, links: str, require: Any
) -> None:
    if program != "python3":
        require.command(program)
    index.links = links
    shell.real(program)
    if program != "python3":
        shell.program("unzip", f'exec {sys.executable} -m zipfile -e "$3" "$5"')
    status, output = shell.run(UV_DEFAULT_INDEX=index.address)
    assert status == 0, output
    assert shell.version() == "uv 0.12.1"  # the newest, by number
    written = output + shell.calls.read_text()
    written += "".join(path.read_text("latin-1") for path in shell.root.rglob("*") if path.is_file())
    assert index.password not in written
    assert not (shell.root / "uv.new").exists()


def test_credentials_of_a_named_index_come_from_its_variables(shell: Shell, index: PackageIndex) -> None:
    shell.real("python3")
    index.password = "p@ss/w:rd %&"
    variables: dict[str, Any] = {"UV_INDEX_OUR_OWN_USERNAME": index.user, "UV_INDEX_OUR_OWN_PASSWORD": index.password}
    status, output = shell.run(UV_DEFAULT_INDEX=f"our-own=http://{index.host}/simple", **variables)
    assert status == 0, output
    assert shell.version() == "uv 0.12.1"


def test_an_index_that_only_pip_was_told_of_is_asked(shell: Shell, index: PackageIndex) -> None:
    shell.real("python3")
    assert shell.run(PIP_INDEX_URL=index.address)[0] == 0
    assert index.asked


def test_a_further_index_is_asked_where_the_first_one_has_no_uv(shell: Shell, index: PackageIndex) -> None:
    shell.real("python3")
    status, output = shell.run(UV_DEFAULT_INDEX=f"http://{index.host}/nothing", UV_INDEX=f"a={index.address}")
    assert status == 0, output
    assert "401" in output


def test_a_wheel_with_another_digest_than_the_index_states_is_refused(shell: Shell, index: PackageIndex) -> None:
    shell.real("python3")
    index.add(wheel_of_uv(b"#!/bin/sh\necho bad\n", "0.13.0"), lie=True)
    status, output = shell.run(UV_DEFAULT_INDEX=index.address)
    assert status != 0
    assert "is not what the index describes" in output
    assert not (shell.root / "bin" / "uv").exists()


def test_yanked_releases_and_those_for_other_machines_are_passed_over(shell: Shell, index: PackageIndex) -> None:
    shell.real("python3")
    index.add(wheel_of_uv(b"bad", "0.99.0"), yanked=True)
    index.add(wheel_of_uv(b"bad", "0.98.0", "manylinux_2_28_aarch64"))
    index.add(wheel_of_uv(b"bad", "0.97.0", "musllinux_1_1_x86_64"))
    assert shell.run(UV_DEFAULT_INDEX=index.address)[0] == 0
    assert shell.version() == "uv 0.12.1"


@pytest.mark.parametrize(
    ("machine", "libc", "platform"),
    [
        ("aarch64", "glibc", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"),
        ("aarch64", "musl", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"),
        ("x86_64", "musl", "musllinux_1_1_x86_64"),
        ("ppc64le", "glibc", "manylinux_2_17_ppc64le.manylinux2014_ppc64le"),
    ],
)
def test_the_wheel_is_that_of_the_machine(
    shell: Shell, index: PackageIndex, machine: str, libc: str, platform: str
) -> None:
    shell.real("python3")
    shell.program("uname", f"echo {machine}")
    shell.program("ldd", f"echo {libc} >&2; exit 1")
    index.add(wheel_of_uv(UV % b"0.14.7", "0.14.7", platform))
    status, output = shell.run(UV_DEFAULT_INDEX=index.address)
    assert status == 0, output
    assert shell.version() == "uv 0.14.7"


def test_the_vendors_installer_goes_before_the_index(shell: Shell) -> None:
    installer = shell.root.parent / "installer"
    brought = '"$UV_INSTALL_DIR/uv"'
    installer.write_text(f"echo '#!/bin/sh\necho uv 1.2.3' >{brought}\nchmod 755 {brought}\n")
    # The last word of what curl is given is the file.
    known = f'case $address in *https://astral.sh/uv/install.sh*) cp {installer} "$file";; *) exit 6;; esac'
    shell.program("curl", f"read -r address; for file; do :; done; {known}")
    status, output = shell.run()
    assert status == 0, output
    assert shell.version() == "uv 1.2.3"


def test_a_vendor_that_cannot_be_reached_is_not_waited_for(shell: Shell, index: PackageIndex) -> None:
    shell.program("wget", "case $1 in --version) echo GNU Wget;; *) exit 4;; esac")
    shell.real("python3")
    status, output = shell.run(UV_DEFAULT_INDEX=index.address)
    assert status == 0, output
    first = next(line for line in shell.called("wget") if "install.sh" in line)
    assert "--connect-timeout=5" in first
    assert "--tries=1" in first


def test_a_wget_that_does_not_verify_certificates_is_not_used(shell: Shell, index: PackageIndex) -> None:
    shell.program("wget", "echo BusyBox v1.36")
    shell.real("python3")
    assert shell.run(UV_DEFAULT_INDEX=index.address)[0] == 0
    assert set(shell.called("wget")) == {"wget --version"}


@pytest.mark.parametrize("version", ["0.1.45", "0.4.30", ""])
def test_a_uv_that_is_too_old_is_not_used(shell: Shell, index: PackageIndex, version: str) -> None:
    shell.program("uv", f"echo uv {version}" if version else "exit 127")
    shell.real("python3")
    status, output = shell.run(UV_DEFAULT_INDEX=index.address)
    assert status == 0, output
    assert "\nuv 0.12.1\n" in output
    assert shell.version() == "uv 0.12.1"


def test_a_uv_that_is_there_is_used(shell: Shell) -> None:
    shell.program("uv", "echo uv 0.9.1")
    status, output = shell.run()
    assert status == 0, output
    assert not (shell.root / "bin" / "uv").exists()
    shell.program("uv", "exit 127")
    assert "uv kept" in shell.run()[1]
    (shell.programs / "uv").unlink()
    assert "uv started" in shell.run()[1]


def test_a_machine_without_a_downloader_is_given_one_by_apt(shell: Shell, index: PackageIndex) -> None:
    install = (
        f"case \"$*\" in *'install --no-install-recommends curl'*) ln -s {shutil.which('curl')} {shell.programs}/curl\n"
    )
    install += f"ln -s {sys.executable} {shell.programs}/python3;; esac"
    shell.program("apt-get", install)
    shell.program("sudo", 'case $1$2 in -n-E) shift 2; exec "$@";; esac')
    status, output = shell.run(UV_DEFAULT_INDEX=index.address)
    assert status == 0, output
    assert [line.rpartition("pty=0 ")[2].split()[-1] for line in shell.called("apt-get")] == ["update", "unzip"]


def test_a_machine_that_reaches_nothing_says_what_was_tried_and_what_helps(shell: Shell) -> None:
    shell.real("python3")
    nowhere = "http://reader:s3cr3t-s3cr3t@127.0.0.1:9/simple"
    status, output = shell.run(UV_DEFAULT_INDEX=nowhere)
    assert status == 1
    assert "http://127.0.0.1:9/simple/uv/" in output
    assert "set UV_DEFAULT_INDEX" in output
    assert "s3cr3t" not in output
    failed = [found for found in map(parse_progress, output.splitlines()) if found and found.state == "failed"]
    assert [(found.step, found.command) for found in failed] == [("uv", "python3 http://127.0.0.1:9/simple/uv/")]


def test_certificates_that_are_not_there_are_not_insisted_on(shell: Shell, index: PackageIndex) -> None:
    shell.real("python3")
    status, output = shell.run(UV_DEFAULT_INDEX=index.address, SSL_CERT_FILE="/nowhere/at/all.pem")
    assert status == 0, output
    assert "there is no /nowhere/at/all.pem on this machine" in output


def test_a_python_that_cannot_be_downloaded_comes_from_the_systems_packages(shell: Shell) -> None:
    there = shell.root / "python-is-there"
    find, install = f"pythonfind) [ -e {there} ];;", "pythoninstall) echo no way; exit 2;;"
    shell.program("uv", f"case $1$2 in --version) echo uv 1.0.0;; {find} {install} esac")
    shell.program("apt-get", f'case "$*" in *"install --no-install-recommends python3.13") touch {there};; esac')
    shell.program("sudo", 'case $1$2 in -n-E) shift 2; exec "$@";; esac')
    status, output = shell.run("uv", "deps", image=Image(python="3.13", allow_version_gap=True))
    assert status == 0, output
    there.unlink()
    shell.program(
        "apt-get", 'case "$*" in *install*) echo "E: Unable to locate package python3.13" >&2; exit 100;; esac'
    )
    status, output = shell.run("uv", "deps", image=Image(python="3.13", pip=["six"], allow_version_gap=True))
    assert status == 1
    for words in ("no way", "Unable to locate package", "there is no Python 3.13", "UV_PYTHON_INSTALL_MIRROR"):
        assert words in output


def test_what_follows_needs_no_root_and_what_does_says_so_before_anything_is_fetched(shell: Shell) -> None:
    shell.program("id", "case $1 in -un) echo somebody;; *) echo 1000;; esac")
    shell.program("apt-get", "")
    shell.program("uv", "echo uv 1.0.0")
    status, output = shell.run("uv", "deps", image=Image())
    assert status == 0, output
    status, output = shell.run("uv", "apt", image=Image(apt=["ffmpeg"]))
    assert status == 1
    assert (
        "installing the image's packages (apt) takes root, and somebody may not use sudo without a password" in output
    )
    assert "::skyward:: uv" not in output
    assert shell.called("apt-get") == []
    (shell.programs / "uv").unlink()
    status, output = shell.run()
    assert "installing curl ca-certificates unzip (apt) takes root" in output


def test_a_system_without_apt_is_named_before_anything_is_fetched(shell: Shell) -> None:
    status, output = shell.run("uv", "apt", image=Image(apt=["ffmpeg"]))
    assert status == 1
    assert "there is no apt-get on this machine" in output
    assert "::skyward:: uv" not in output


@pytest.fixture
def apt(shell: Shell) -> Any:
    """Lets apt-get answer one call of ``install`` after another."""
    shell.program("sudo", 'shift 2; exec "$@"')
    shell.program("dpkg", "")

    def answers(*words: str) -> tuple[int, str]:
        told = shell.root.parent / "answers"
        told.mkdir()
        for number, text in enumerate(words):
            (told / f"{number}").write_text(text)
        shell.program(
            "apt-get",
            'case "$*" in *" install "*) ;; *) exit 0 ;; esac\n'
            f"n=$(cat {told}/n 2>/dev/null || echo 0)\necho $((n + 1)) >{told}/n\n"
            f'[ ! -s "{told}/$n" ] || {{ cat "{told}/$n" >&2; exit 100; }}',
        )
        return shell.run("apt", image=Image(apt=["ffmpeg"]))

    return answers


def test_another_apt_is_waited_for(shell: Shell, apt: Any) -> None:
    lock = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)\n"
    status, output = apt(*[lock] * 9, "")
    assert status == 0, output
    assert output.count("waiting for that") == 1
    assert len(shell.called("sleep")) == 9


def test_what_a_cut_off_apt_has_left_is_repaired(shell: Shell, apt: Any) -> None:
    words = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.\n"
    status, output = apt(words, "", "")
    assert status == 0, output
    assert shell.called("dpkg") == ["dpkg --force-confdef --force-confold --configure -a"]


def test_lists_that_are_too_old_are_fetched_again(shell: Shell, apt: Any) -> None:
    status, output = apt("E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?\n", "")
    assert status == 0, output
    assert len([line for line in shell.called("apt-get") if line.endswith(" update")]) == 2


@pytest.mark.parametrize(
    "words", ["E: Unable to locate package ffmpeg", "E: You don't have enough free space in /var/cache/apt/archives/."]
)
def test_what_no_second_attempt_changes_fails_at_once(shell: Shell, apt: Any, words: str) -> None:
    status, output = apt(words, "")
    assert status == 100
    assert words in output
    assert "::skyward:: apt failed apt-get install --no-install-recommends ffmpeg" in output
    assert shell.called("sleep") == []


def test_a_network_that_fails_is_tried_three_times(shell: Shell, apt: Any) -> None:
    status, output = apt(*["E: Failed to fetch http://deb.debian.org/x  Connection timed out\n"] * 5)
    assert status == 100
    assert len([line for line in shell.called("apt-get") if " install " in line]) == 3
    assert output.count("Connection timed out") == 3


def test_no_clock_is_asked_how_long_a_phase_took(shell: Shell) -> None:
    shell.program("date", "echo -62135596800")
    shell.program("uv", "echo uv 1.0.0")
    status, output = shell.run("uv", "apt", "volumes")
    assert status == 0, output
    seconds = [
        found.seconds for found in map(parse_progress, output.splitlines()) if found and found.seconds is not None
    ]
    assert len(seconds) == 3
    assert all(0 <= each < 60 for each in seconds)
    assert shell.called("date") == []


def test_nothing_of_a_script_that_arrived_in_part_is_run(tmp_path: Path) -> None:
    from skyward._ssh.remote import _END, _LOADER, _assignments

    tmp_path = tmp_path / "empty"
    tmp_path.mkdir()
    sent = _assignments({"KEPT": "a value"}) + f'exec 2>&1\ntouch {tmp_path}/ran-$1\ntouch "{tmp_path}/$KEPT"\n{_END}\n'
    for length in range(len(sent)):
        part = sent[:length]
        subprocess.run(["/bin/sh", "-c", _LOADER], input=part.encode(), check=False, capture_output=True)
        if length < len(sent) - 1:  # the last line feed adds nothing
            assert not os.listdir(tmp_path), part
    subprocess.run(["/bin/sh", "-c", _LOADER], input=sent.encode(), check=True)
    assert "a value" in os.listdir(tmp_path)
