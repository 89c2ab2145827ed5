"""Whether the container that answers is the one that was started, and where the keys are."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward.spi import cache_folder

# Another machine at the same address, as far as its client can tell.
_ANOTHER = """
set -e
cd /run/skyward
rm -f host_key host_key.pub
ssh-keygen -q -t ed25519 -N '' -f host_key
"""
_SERVED_ANEW = """
for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in sshd*) kill -9 ${p#/proc/} || true ;; esac; done
"""


def private_keys(folder: Path) -> list[Path]:
    """The files in a folder that hold one."""
    return [path for path in folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]


@pytest.mark.slow
def test_a_container_with_another_host_key_is_refused_and_replaced_and_no_key_is_on_the_clients_disk(
    pool: Any,
    story: Any,
    waiting: Any,
    podman: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("XDG_STATE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pool(on_event=story, lease=30) as running:
        lasting = running.submit(waiting()("lasting"))
        machine = story.machine("lasting")
        assert os.listdir(tmp_path), "nothing of the client lies here, so this shows nothing"
        assert private_keys(tmp_path) == []
        assert private_keys(cache_folder("container")) == []
        podman("exec", machine, "sh", "-c", _ANOTHER)
        with suppress(subprocess.CalledProcessError):  # it is seen at once, and may be removed before this has returned
            podman("exec", machine, "sh", "-c", _SERVED_ANEW)
        error = lasting.exception(story.patience)
        assert isinstance(error, sky.OutcomeUnknown)
        assert "another machine has taken its address" in str(error)
        story.until(lambda: story.of(sky.NodeReplaced))
        assert "another machine has taken its address" in story.of(sky.InstancePreempted)[0].reason
        assert sky.compute(lambda: 1)() >> running == 1
