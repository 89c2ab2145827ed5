"""The step that mounts volumes, as text and with programs that only look like FUSE clients; and their end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skyward.model.image import Image
from skyward.model.volume import S3Volume
from skyward.model.volumes import Mount, S3Credentials, secrets_file, step

OWN = S3Credentials("AKIAMINE", "it's a secret", "a token")
MOUNTS = (
    Mount(volume=S3Volume("/data", "my-data", "data sets/"), credentials=OWN, endpoint="http://s3.example:9000"),
    Mount(volume=S3Volume("/mnt/it's mine", "my-runs", read_only=False), region="eu-west-1"),
)


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_the_step_parses_in_every_shell(shell: str, require: Any) -> None:
    text = Image().bootstrap(steps=[step(MOUNTS)])
    done = subprocess.run([require.command(shell), "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_shellcheck_finds_nothing_in_the_step(require: Any) -> None:
    program = require.command("shellcheck")
    text = Image().bootstrap(steps=[step(MOUNTS)])
    done = subprocess.run([program, "--shell=sh", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_secrets_stand_in_their_file_alone_and_no_repr_shows_them(tmp_path: Path) -> None:
    text = Image().bootstrap(steps=[step(MOUNTS)])
    for secret in OWN.secrets:
        assert secret not in text
        assert secret not in repr(MOUNTS)
    file = tmp_path / "volumes.env"
    file.write_bytes(secrets_file(MOUNTS))
    show = '. "$0"; credentials_0; echo "$AWS_ACCESS_KEY_ID,$AWS_SECRET_ACCESS_KEY,$AWS_SESSION_TOKEN"'
    done = subprocess.run(["sh", "-c", show, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == "AKIAMINE,it's a secret,a token\n"
    assert secrets_file(MOUNTS[1:]) == b""


class Node:
    """A folder that stands for a machine whose programs for mounting write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.root, self.programs, self.calls = folder / "root", folder / "programs", folder / "calls"
        for each in (self.root, self.programs, self.root / "volumes", self.root / "markers", self.root / "bin"):
            each.mkdir()
        self.calls.touch()
        self.program("umount", "")
        self.program("sudo", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')
        self.data, self.runs = folder / "data", folder / "runs"
        self.mounts = (
            Mount(volume=S3Volume(str(self.data), "my-data", "sets/"), credentials=OWN, endpoint="http://s3:9"),
            Mount(volume=S3Volume(str(self.runs), "my-runs", read_only=False), region="eu-west-1"),
        )

    def program(self, name: str, body: str) -> None:
        file = self.programs / name
        file.write_text(f'#!/bin/sh\necho {name} "$@" key=${{AWS_ACCESS_KEY_ID:-}} >>{self.calls}\n{body}\n')
        file.chmod(0o755)

    def run(self) -> tuple[int, str]:
        """Run the phase ``volumes`` alone, and nothing of what comes before it."""
        (self.root / "volumes.env").write_bytes(secrets_file(self.mounts))
        self.calls.write_text("")
        text = Image().bootstrap(steps=[step(self.mounts)], phases=["volumes"])
        environment = {"PATH": f"{self.programs}:/usr/bin:/bin", "SKYWARD_ROOT": str(self.root), "HOME": str(self.root)}
        done = subprocess.run(
            ["sh"],
            input=text,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def node(tmp_path: Path, require: Any) -> Node:
    require(os.path.exists("/dev/fuse"), "/dev/fuse")
    return Node(tmp_path)


def test_mountpoint_is_preferred_and_told_what_each_volume_is(node: Node) -> None:
    node.program("mount-s3", 'case "$*" in --help) echo "  --allow-overwrite  Allow";; esac')
    node.program("rclone", "exit 1")
    code, output = node.run()
    assert code == 0, output
    where = "--endpoint-url http://s3:9 --force-path-style"
    owner = f"--allow-other --uid {os.getuid()} --gid {os.getgid()} --file-mode 0644 --dir-mode 0755"
    assert [call for call in node.calls.read_text().splitlines() if "--uid" in call] == [
        f"mount-s3 my-data {node.data} {owner} --region us-east-1 --read-only --prefix sets/ {where} key=AKIAMINE",
        f"mount-s3 my-runs {node.runs} {owner} --region eu-west-1 --allow-delete --allow-overwrite key=",
    ]
    assert not (node.root / "volumes.env").exists()
    assert list(node.runs.iterdir()) == []


def test_a_mount_that_has_gone_is_made_again_and_the_others_are_taken_away_before(node: Node) -> None:
    node.program("mount-s3", "")
    assert node.run()[0] == 0
    node.program("mountpoint", "exit 0")
    assert node.run()[0] == 0
    assert "mount-s3" not in node.calls.read_text()
    node.program("mountpoint", f'[ "$2" = {node.data} ]')
    assert node.run()[0] == 0
    calls = node.calls.read_text().splitlines()
    assert [call.split()[0] for call in calls if call.split()[0] in ("umount", "mount-s3")][:3] == [
        "umount",
        "umount",
        "mount-s3",
    ]


def test_a_folder_with_something_in_it_is_not_hidden(node: Node) -> None:
    node.program("mount-s3", "")
    node.data.mkdir()
    (node.data / "mine").touch()
    code, output = node.run()
    assert code
    assert f"{node.data} is not empty on this machine" in output


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("The bucket does not exist", "there is no bucket my-data at http://s3:9"),
        ("Access Denied", "the credentials of the client may not read s3://my-data/sets/: allow s3:ListBucket"),
        ("No signing credentials found", "this machine has no credentials for s3://my-data/sets/"),
        ("out of luck", "out of luck\ns3://my-data/sets/ cannot be mounted"),
    ],
)
def test_what_the_client_says_is_told_with_what_helps(node: Node, said: str, told: str) -> None:
    node.program("mount-s3", f"echo '{said}' >&2; exit 1")
    code, output = node.run()
    assert code
    assert told in output
    assert "::skyward:: volumes failed mount s3://my-data/sets/ at" in output


def test_what_is_to_be_run_last_is_run_once_and_hidden_from_what_the_node_starts(tmp_path: Path) -> None:
    script = tmp_path / "unmount"
    script.write_text(f"echo ran >>{tmp_path}/ran\n")
    program = (
        "import os\nfrom skyward.worker import family\nassert 'SKYWARD_AT_END' not in os.environ\nfamily.run_last()\n"
    )
    environment = {**os.environ, "SKYWARD_AT_END": str(script)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert (tmp_path / "ran").read_text() == "ran\n"
    del environment["SKYWARD_AT_END"]
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert (tmp_path / "ran").read_text() == "ran\n"
