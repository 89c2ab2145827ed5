"""How a slot died, from its wait status and the kernel's counters."""

from __future__ import annotations

import faulthandler
import os
import signal
from pathlib import Path

import pytest

from skyward.worker import slots
from skyward.worker.deaths import how_it_died, kill_counters, oom_kills
from skyward.worker.slots import SlotProcess


def status_of(how: str) -> int:
    child = os.fork()
    if not child:
        faulthandler.disable()
        if how == "exit":
            os._exit(3)
        os.kill(os.getpid(), getattr(signal, how))
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("kills", [0, 1])
@pytest.mark.parametrize(
    ("how", "number", "code"), [("SIGKILL", 9, None), ("SIGSEGV", 11, None), ("SIGTERM", 15, None), ("exit", None, 3)]
)
def test_a_death_is_named_as_what_it_was(how: str, number: int | None, code: int | None, kills: int) -> None:
    facts = how_it_died(status_of(how), kills_before=5, kills_now=5 + kills)
    memory = how == "SIGKILL" and kills > 0
    assert facts == {"signal": number, "exit_code": code, "out_of_memory": memory}


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_the_machines_and_the_groups_kills_are_counted(tmp_path: Path) -> None:
    vmstat = write(tmp_path / "vmstat", "nr_free_pages 5\noom_kill 3\noom_kill_other 9\n")
    write(tmp_path / "cgroup/user.slice/memory.events", "low 0\nhigh 1\nmax 2\noom 4\noom_kill 2\noom_group_kill 0\n")
    write(tmp_path / "cgroup/memory/box/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    membership = write(tmp_path / "membership", "12:cpu,cpuacct:/x\n9:memory:/box\n0::/user.slice\n")
    files = kill_counters(membership, str(tmp_path / "cgroup"), vmstat)
    assert oom_kills(files) == 6


def test_inside_a_container_the_root_is_the_groups_own_folder(tmp_path: Path) -> None:
    write(tmp_path / "cgroup/memory.events", "oom_kill 7\n")
    membership = write(tmp_path / "membership", "0::/docker/abc\n")
    assert oom_kills(kill_counters(membership, str(tmp_path / "cgroup"), str(tmp_path / "none"))) == 7


def test_a_root_group_is_counted_once(tmp_path: Path) -> None:
    write(tmp_path / "cgroup/memory.events", "oom_kill 7\n")
    membership = write(tmp_path / "membership", "0::/\n")
    assert oom_kills(kill_counters(membership, str(tmp_path / "cgroup"), str(tmp_path / "none"))) == 7


@pytest.mark.parametrize("content", ["", "oom_kill\n", "oom_kill many\n", "\0\xff"])
def test_files_that_say_nothing_count_as_none(tmp_path: Path, content: str) -> None:
    assert oom_kills([write(tmp_path / "file", content), str(tmp_path / "missing")]) == 0


def test_malformed_memberships_are_passed_over(tmp_path: Path) -> None:
    membership = write(tmp_path / "membership", "nonsense\n\n7\n3:memory\n")
    assert oom_kills(kill_counters(membership, str(tmp_path), str(tmp_path / "none"))) == 0


def test_this_machine_can_be_asked() -> None:
    assert oom_kills() >= 0


def test_a_kill_is_counted_also_when_its_victim_dies_after_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = [5]
    monkeypatch.setattr(slots, "oom_kills", lambda: kills[0])
    slot = SlotProcess(0, str(tmp_path), b"token")
    try:
        slot.note_kills()
        slot.note_kills()
        assert not slot.reap(signal.SIGKILL)["out_of_memory"]
        kills[0] += 1  # the kernel has chosen its victim, which takes a while to let go of its memory
        slot.note_kills()
        assert slot.reap(signal.SIGKILL)["out_of_memory"]
        slot.note_kills()
        assert not slot.reap(signal.SIGKILL)["out_of_memory"]
    finally:
        slot.close_inherited()
