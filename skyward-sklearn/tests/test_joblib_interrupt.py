"""Ctrl-C in a program that waits for a ``Parallel``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

PROGRAM = textwrap.dedent("""
    import os, sys, time
    from joblib import Parallel, delayed
    import skyward as sky
    from skyward_sklearn._registration import joblib_backend

    def linger(folder):
        mine = f"{folder}/{os.getpid()}"
        open(f"{mine}.begun", "w").close()
        try:
            while True:
                time.sleep(0.005)
        finally:
            open(f"{mine}.stopped", "w").close()

    if __name__ == "__main__":
        with sky.ComputePool(nodes=2, display="quiet") as pool, joblib_backend(pool):
            try:
                Parallel()([delayed(linger)(sys.argv[1])] * 2)
            except KeyboardInterrupt:
                print(sorted(name.partition(".")[2] for name in os.listdir(sys.argv[1])), flush=True)
            print(Parallel()(delayed(abs)(-n) for n in range(5)), flush=True)
""")


def test_ctrl_c_stops_the_calls_and_leaves_the_pool_usable(tmp_path: Path) -> None:
    folder = tmp_path / "marks"
    folder.mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        limit = time.monotonic() + 120
        while len(list(folder.glob("*.begun"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all that run in it
        told, _ = process.communicate(timeout=120)
    assert told == "['begun', 'begun', 'stopped', 'stopped']\n[0, 1, 2, 3, 4]\n"
    assert process.returncode == 0
