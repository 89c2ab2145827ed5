"""What an instance runs at its start; above all that its end is asked for, and its key told to nobody."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fakes.vastai import Ask, VastAIServer
from hypothesis import given
from hypothesis import strategies as st

from skyward import ConfigurationError
from skyward.spi import KeyPair, first_boot_script
from skyward_vastai._onstart import END, fitted, onstart

KEY = KeyPair(private="-----A SECRET-----", public="ssh-ed25519 AAAAC3Nza skyward a-pool")
SWITCH = first_boot_script(lifetime=86_400, lease=600, user="root", end=END)
TOOLS = ("sh", "tr", "sed", "head", "cat", "mktemp", "rm")


def text(endpoint: str = "https://console.vast.ai") -> str:
    return onstart(SWITCH, KEY, endpoint)


def test_it_is_shell_within_the_vendors_limit_and_has_no_secret() -> None:
    made = text()
    assert len(made) <= 4048
    assert "SECRET" not in made
    assert subprocess.run(["sh", "-n"], input=made, text=True).returncode == 0
    assert SWITCH in made
    assert KEY.public in made
    assert "\ntouch ~/.no_auto_tmux\n" in made, "Vast.ai's images would answer a command with tmux"


@given(st.text(max_size=300))
def test_what_is_too_long_unpacks_itself(middle: str) -> None:
    whole = f"cat <<'@'\n{middle.replace('@', '').replace(chr(0), '')}\n@\n" + "# a comment\n" * 400
    short = fitted(whole)
    assert len(short) <= 4048
    echo, packed, *rest = short.split()
    assert (echo, rest) == ("echo", ["|", "base64", "-d", "|", "gzip", "-dc", "|", "sh"])
    assert gzip.decompress(base64.b64decode(packed)).decode() == whole


def test_what_is_packed_runs() -> None:
    short = fitted("echo at last\n" + "# a comment\n" * 400)
    assert subprocess.run(["sh", "-c", short], capture_output=True, text=True, check=True).stdout == "at last\n"


def test_what_does_not_fit_at_all_is_refused() -> None:
    noise = base64.b64encode(os.urandom(6000)).decode()
    with pytest.raises(ConfigurationError, match="takes 4048"):
        fitted(noise)


def script(endpoint: str) -> str:
    """What ends an instance, as it is written there."""
    return text(endpoint).partition("<<'@@'\n")[2].partition("\n@@\n")[0]


@pytest.mark.parametrize("tool", ["curl", "wget", "python3"])
def test_an_instance_destroys_itself_with_whatever_it_has_and_shows_its_key_to_nobody(
    tool: str, vastai_api: VastAIServer, tmp_path: Path, require: Any
) -> None:
    ask = Ask(id=77, machine_id=7)
    with vastai_api.lock:
        vastai_api.market.asks.append(ask)
        instance = vastai_api.rented(ask, {"image": "x", "label": "skyward"})
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in TOOLS:
        (programs / name).symlink_to(require.command(name))
    shown = tmp_path / "shown"
    (programs / tool).write_text(f'#!/bin/sh\necho "$@" >>{shown}\nexec {require.command(tool)} "$@"\n')
    (programs / tool).chmod(0o755)
    environment = {
        "PATH": str(programs),
        "TMPDIR": str(tmp_path),
        "CONTAINER_ID": str(instance.id),
        "CONTAINER_API_KEY": instance.key,
    }
    path = tmp_path / "end.sh"
    path.write_text(script(vastai_api.endpoint))
    command = [str(shutil.which("sh")), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [asked] = vastai_api.requests
    assert (asked.method, asked.path, asked.status) == ("DELETE", f"/api/v0/instances/{instance.id}", 200)
    assert asked.headers["authorization"] == f"Bearer {instance.key}"
    assert vastai_api.ours == []
    assert str(instance.id) in shown.read_text()
    assert instance.key not in shown.read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bin", "end.sh", "shown"]


def test_without_a_key_nothing_is_asked(vastai_api: VastAIServer, tmp_path: Path) -> None:
    path = tmp_path / "end.sh"
    path.write_text(script(vastai_api.endpoint))
    done = subprocess.run(["sh", str(path)], env={"PATH": os.environ["PATH"]}, capture_output=True)
    assert done.returncode == 1
    assert not vastai_api.requests


def test_an_end_that_is_refused_is_told_so_that_it_is_tried_again(vastai_api: VastAIServer, tmp_path: Path) -> None:
    path = tmp_path / "end.sh"
    path.write_text(script(vastai_api.endpoint))
    environment = {"PATH": os.environ["PATH"], "CONTAINER_ID": "1", "CONTAINER_API_KEY": "not-this-one"}
    done = subprocess.run(["sh", str(path)], env=environment, capture_output=True)
    assert done.returncode != 0
    assert {each.status for each in vastai_api.requests} == {401}
