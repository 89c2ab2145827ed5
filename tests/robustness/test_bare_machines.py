"""Machines with an SSH server and `/bin/sh`, and nothing else that a node needs, become nodes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from package_index import PackageIndex, wheel_of_uv

from skyward._uv import find_uv
from skyward.errors import BootstrapError
from skyward.model.bootstrap import PHASES
from skyward.model.image import Image

from .bare import DEBIAN, PYTHON, UBUNTU, Bare
from .bare import make_bare as make_bare

# Holds the lock that `apt-get update` takes, as the system's own upgrade does just after the start.
_ANOTHER_APT = """
perl -e 'use Fcntl; open F, ">", "/var/lib/apt/lists/lock" or die;
    $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $lock) or die;
    open G, ">", "/tmp/held"; close G; sleep 1 until -e "/tmp/go-on"' >/dev/null 2>&1 &
for _ in $(seq 100); do [ ! -e /tmp/held ] || exit 0; sleep 0.1; done
exit 1
"""


def image_for(base: str, **options: Any) -> Image:
    return Image(python=PYTHON[base], allow_version_gap=True, **options)


def changes(machine: Bare, root: str) -> str:
    """What has changed below a folder since the file /tmp/before was made, but for what each connection does."""
    ours = " ".join(f"! -path '{root}/{name}'" for name in ("lock", "certificates.pem", "run*"))
    return machine.sh(f"find {root} -mindepth 1 -cnewer /tmp/before {ours}")


class Listener(logging.Handler):
    """Calls back when a line is logged that holds some words."""

    def __init__(self, words: str, heard: Any) -> None:
        super().__init__()
        self._words, self._heard = words, heard

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self._heard()


@pytest.mark.slow
@pytest.mark.parametrize(("base", "user", "home"), [(DEBIAN, "root", "/opt"), (UBUNTU, "admin", "/home/admin")])
def test_a_machine_with_only_an_ssh_server_becomes_a_node_and_a_second_time_changes_nothing(
    make_bare: Any, base: str, user: str, home: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine = make_bare(base)
    image = image_for(base, apt=["less"])
    root = f"{home}/skyward" if user == "root" else f"{home}/.skyward"
    machine.sh(f"mkdir -p /var/lib/apt/lists && {_ANOTHER_APT}")
    waited = threading.Event()
    once = {"UV_HTTP_RETRIES": "0"}  # a download of Python that cannot work here is given up at once

    def heard() -> None:
        machine.sh("touch /tmp/go-on")
        waited.set()

    listener = Listener("waiting for that", heard)
    with caplog.at_level(logging.DEBUG, "skyward.ssh"):
        logging.getLogger("skyward.ssh").addHandler(listener)
        try:
            machine.becomes_a_node(image, user, variables=once)
        finally:
            logging.getLogger("skyward.ssh").removeHandler(listener)
    assert waited.is_set()
    assert machine.completed() == list(PHASES)
    machine.sh("command -v less && touch /tmp/before")
    machine.becomes_a_node(image, user, variables=once)
    assert machine.completed() == list(PHASES)
    assert changes(machine, root) == ""


@pytest.mark.slow
def test_a_user_who_may_not_become_root_is_told_what_is_missing_before_anything_is_fetched(make_bare: Any) -> None:
    machine = make_bare(DEBIAN)
    with pytest.raises(BootstrapError, match="plain may not use sudo without a password: log in as root") as caught:
        machine.becomes_a_node(image_for(DEBIAN, apt=["less"]), "plain")
    assert caught.value.phase == "apt"
    assert machine.phases == []
    with pytest.raises(BootstrapError, match=r"installing curl ca-certificates unzip .* takes root"):
        machine.becomes_a_node(image_for(DEBIAN), "plain")


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    """An index that has the uv of this machine, and what PyPI has."""
    made = PackageIndex()
    made.add(
        wheel_of_uv(asyncio.run(find_uv()).read_bytes(), "99.0.0", f"manylinux_2_17_{os.uname().machine}.whatever")
    )
    yield made
    made.close()


class Watcher:
    """Looks at the command lines of all processes of this machine, which are those of its containers, too."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            for entry in filter(str.isdigit, os.listdir("/proc")):
                try:
                    self.seen.add(Path(f"/proc/{entry}/cmdline").read_bytes())
                except OSError:
                    continue

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.slow
def test_without_root_everything_but_skyward_comes_from_an_index_whose_password_shows_nowhere(
    make_bare: Any, index: PackageIndex, caplog: pytest.LogCaptureFixture
) -> None:
    machine = make_bare(DEBIAN, bare=False)  # it has a Python, with neither pip nor venv of its own
    watcher = Watcher()
    try:
        with caplog.at_level(logging.DEBUG):
            machine.becomes_a_node(image_for(DEBIAN), "plain", variables={"UV_DEFAULT_INDEX": index.address})
            image = image_for(DEBIAN, pip=["no-such-package-of-ours"])
            with pytest.raises(BootstrapError, match="no-such-package-of-ours was not found") as caught:
                machine.becomes_a_node(image, "plain", variables={"UV_DEFAULT_INDEX": index.address})
    finally:
        watcher.close()
    assert caught.value.phase == "deps"
    assert caught.value.command.startswith("uv pip install")
    assert index.refused  # it does ask for a password
    projects = {path.split("/")[2] for path in index.asked if path.startswith("/simple/")}
    assert projects == {"uv", "psutil", "nvidia-ml-py", "no-such-package-of-ours"}
    assert any(b"uv\0pip\0install" in line for line in watcher.seen)
    assert not [line for line in watcher.seen if index.password.encode() in line]
    assert index.password not in caplog.text + str(caught.value) + caught.value.output
    files = f"grep -rl --exclude-dir=proc --exclude-dir=sys {index.password} / 2>/dev/null || true"
    assert machine.sh(files) == ""
