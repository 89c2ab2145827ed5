"""A supervisor ends with all that its tasks have left behind."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from skyward.worker.family import remove_folder

LEAVING = """
import os, subprocess, sys
from skyward.worker.family import adopt_orphans, end_all
adopt_orphans()
leaves = '''
import os, signal, subprocess, sys
if %(stubborn)r:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
program = "import signal, time; %(ignore)s; print('here', flush=True); time.sleep(1000)"
child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, env={})
child.stdout.readline()
print(child.pid, flush=True)
os._exit(0)
'''
middle = subprocess.Popen([sys.executable, "-c", leaves], stdout=subprocess.PIPE)
left = int(middle.stdout.readline())
middle.wait()
print(left, os.getpid(), int(open(f"/proc/{left}/stat").read().rpartition(")")[2].split()[1]), flush=True)
sys.stdin.readline()
end_all()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
@pytest.mark.parametrize("stubborn", [False, True], ids=["polite", "stubborn"])
def test_processes_in_sessions_of_their_own_are_adopted_and_ended(stubborn: bool) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else "0"
    program = LEAVING % {"stubborn": stubborn, "ignore": ignore}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    left, supervisor, parent = map(int, process.stdout.readline().split())
    assert parent == supervisor == process.pid
    descriptor = os.pidfd_open(left)
    process.stdin.close()
    assert process.stdout.read().strip() == "no child is left"
    assert select.select([descriptor], [], [], 60)[0]
    os.close(descriptor)
    process.stdout.close()
    assert process.wait(60) == 0


def test_a_folder_is_removed_with_what_is_in_it_and_nothing_that_links_lead_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    folder = tmp_path / "folder"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    (folder / "link").symlink_to(kept)
    remove_folder(str(folder))
    assert not folder.exists()
    assert (kept / "file").exists()
    remove_folder(str(folder))
