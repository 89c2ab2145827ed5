"""What a pod runs at its start, by a real shell: it deletes itself, and shows its key to nobody."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.runpod import Fake

from skyward.spi import first_boot_script
from skyward_runpod import _boot


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with what every image has, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "tr", "sed", "cat", "printf"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def watched(folder: Path, name: str, program: str) -> Path:
    """Put a program there that writes down how it was called."""
    path = folder / name
    log = folder.parent / "called"
    path.write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n{program}\n')
    path.chmod(0o755)
    return log


def end(fake: Fake, folder: Path, pod: str = "mine") -> subprocess.CompletedProcess[str]:
    """Run the text that ends a pod."""
    key = fake.pods[pod].key if pod in fake.pods else "rpa_gone"
    environment = {"PATH": str(folder), "RUNPOD_POD_ID": pod, "RUNPOD_API_KEY": key, "NO_PROXY": "*"}
    text = _boot.ending(fake.endpoint)
    return subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def fake(runpod_api: Fake) -> Fake:
    """With a pod that is to end itself."""
    pod = runpod_api.pods["stranger1"]
    runpod_api.pods["mine"] = type(pod)("mine", "mine", dict(pod.order), "rpa_the_pods_own_key", 1.0)
    return runpod_api


@pytest.mark.parametrize("program", ["curl", "python3"])
def test_a_pod_deletes_itself_with_what_its_image_has_and_tells_nobody_its_key(
    program: str, fake: Fake, programs: Path
) -> None:
    real = sys.executable if program == "python3" else shutil.which(program)
    assert real is not None
    log = watched(programs, program, f'exec {real} "$@"')
    done = end(fake, programs)
    assert "mine" not in fake.pods, done.stderr
    [deleted] = fake.asked("DELETE *")
    assert (deleted.path, deleted.status) == ("/v2/pods/mine", 204)
    assert log.read_text().startswith(program)
    assert "rpa_" not in log.read_text() + done.stdout + done.stderr


def test_where_there_is_neither_the_vendors_own_program_is_asked(fake: Fake, programs: Path) -> None:
    log = watched(programs, "runpodctl", '[ "$1" = remove ] && [ "$RUNPOD_API_KEY" = rpa_the_pods_own_key ]')
    assert end(fake, programs).returncode == 0
    assert log.read_text().splitlines() == ["runpodctl pod delete mine", "runpodctl remove pod mine"]


def test_what_fails_by_one_way_is_tried_by_the_next(fake: Fake, programs: Path) -> None:
    log = watched(programs, "curl", "exit 6")
    watched(programs, "python3", f'exec {sys.executable} "$@"')
    end(fake, programs)
    assert "mine" not in fake.pods
    assert [line.split()[0] for line in log.read_text().splitlines() if line.startswith(("curl", "python3"))] == [
        "curl",
        "python3",
    ]


def test_a_pod_may_end_itself_alone(fake: Fake, programs: Path) -> None:
    watched(programs, "curl", f'exec {shutil.which("curl") or "false"} "$@"')
    fake.pods["mine"].key, fake.pods["stranger1"].key = "rpa_other", "rpa_the_pods_own_key"
    environment = {"PATH": str(programs), "RUNPOD_POD_ID": "mine", "RUNPOD_API_KEY": "rpa_the_pods_own_key"}
    subprocess.run(["/bin/sh", "-c", _boot.ending(fake.endpoint)], env=environment, capture_output=True, timeout=60)
    assert "mine" in fake.pods
    del fake.pods["mine"]


def sandboxed(text: str, root: Path) -> str:
    """The script, in a folder in the place of the root."""
    for name in ("/run/skyward", "/start.sh", "/root/", "/run/sshd"):
        text = text.replace(name, f"{root}{name}")
    return text


def run(root: Path, *, deadline: float | None, switch: str) -> subprocess.CompletedProcess[str]:
    """Start a pod's container in that folder, as its ``args`` say."""
    (root / "run").mkdir(parents=True, exist_ok=True)
    text = base64.b64decode(_boot.boot(switch, "http://127.0.0.1:1", deadline)).decode()
    value = base64.b64encode(sandboxed(text, root).encode()).decode()
    command = [sandboxed(each, root) for each in shlex.split(_boot.ARGS)]
    environment = {**os.environ, _boot.SCRIPT: value}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def image(root: Path, text: str = "echo served") -> None:
    """What the image has to start its SSH server with."""
    root.mkdir(exist_ok=True)
    (root / "start.sh").write_text(f"#!/bin/sh\n{text}\n")
    (root / "start.sh").chmod(0o755)


SWITCH = "#!/bin/sh\nset -eu\nmkdir -p /run/skyward\necho armed >/run/skyward/word\n"


def test_the_switch_is_armed_before_the_images_own_start_goes_on(tmp_path: Path) -> None:
    image(tmp_path / "pod", f"cat {tmp_path}/pod/run/skyward/word; echo served")
    assert run(tmp_path / "pod", deadline=None, switch=SWITCH).stdout.split() == ["armed", "served"]


def test_what_an_earlier_life_of_the_container_has_left_does_not_keep_the_switch_from_being_armed(
    tmp_path: Path,
) -> None:
    root = tmp_path / "pod"
    image(root)
    node = root / "run/skyward/node"
    node.mkdir(parents=True)
    (root / "run/skyward/switch.pid").write_text(f"{os.getpid()}\n")  # now the number of another process
    (node / "pid").write_text(f"{os.getpid()}\n")
    switch = first_boot_script(lifetime=600.0, lease=None, end="true")
    assert run(root, deadline=None, switch=switch).stdout.split() == ["served"]
    assert not node.exists()
    pid = int((root / "run/skyward/switch.pid").read_text())
    os.kill(pid, 9)
    assert pid != os.getpid()


def test_a_pod_whose_switch_cannot_be_armed_ends_instead_of_serving(tmp_path: Path) -> None:
    root = tmp_path / "pod"
    image(root)
    (root / "run").mkdir()
    text = base64.b64decode(_boot.boot("#!/bin/sh\nset -eu\nfalse\ntrue\n", "http://127.0.0.1:1", None)).decode()
    text = sandboxed(text, root).replace(f"sh {root}/run/skyward-end.sh", "echo ended; exit 3")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.returncode) == (["ended"], 3)


def test_a_container_that_starts_again_after_its_deadline_ends_by_the_clock(tmp_path: Path) -> None:
    root = tmp_path / "pod"
    folder = tmp_path / "bin"
    folder.mkdir()
    ended = tmp_path / "ended"
    (folder / "sleep").write_text("#!/bin/sh\n[ ! -e " + str(ended) + " ]\n")  # no time passes, until it has ended
    (folder / "sleep").chmod(0o755)
    for deadline, ends in ((time.time() - 5, True), (time.time() + 3600, False)):
        root.mkdir(exist_ok=True)
        (root / "run").mkdir(exist_ok=True)
        image(root, f"until [ -e {ended} ]; do :; done; wait" if ends else f"touch {ended}; echo alive")
        text = sandboxed(base64.b64decode(_boot.boot(SWITCH, "http://x", deadline)).decode(), root)
        text = text.replace(f"sh {root}/run/skyward-end.sh", f"touch {ended}")
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=120)
        assert ended.exists()
        assert ("alive" in done.stdout) is not ends
        ended.unlink()


def test_the_vendors_address_is_quoted() -> None:
    assert "url='http://10.0.0.1/a;b'/v2/pods/$pod" in _boot.ending("http://10.0.0.1/a;b")


def test_the_arguments_of_a_pod_hold_nothing_that_two_shells_could_read_differently() -> None:
    assert shlex.split(_boot.ARGS) == ["sh", "-c", _boot.ARGS.removeprefix("sh -c '").removesuffix("'")]
    assert not set(_boot.ARGS) & set('"\\`{}\n')
