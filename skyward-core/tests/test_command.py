"""Programs of somebody else's: how they ended, and that nothing is left of one that is given up."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest
from giving_up import give_up

from skyward._command import run_command


def test_a_program_killed_by_a_signal_is_told_by_its_status(tmp_path: Path) -> None:
    done = asyncio.run(run_command(["sh", "-c", "echo bye; kill -TERM $$"], env=os.environ, cwd=tmp_path))
    assert done.code == 143
    assert done.output.startswith("bye\n")


@pytest.mark.parametrize("impatient", [False, True])
def test_a_program_that_is_given_up_is_ended_with_what_it_started(tmp_path: Path, impatient: bool) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    command = ["sh", "-c", f"sleep 1000 & sh -c 'echo begun >{begun}; sleep 1000'"]
    before = set(psutil.Process().children(recursive=True))

    async def main() -> None:
        task = asyncio.ensure_future(run_command(command, env=os.environ, cwd=tmp_path))
        await asyncio.to_thread(begun.read_text)
        started = set(psutil.Process().children(recursive=True)) - before
        assert len(started) > 2
        await give_up(task, impatient=impatient)
        assert not psutil.wait_procs(started, timeout=60)[1]

    asyncio.run(main())


@pytest.mark.parametrize("steps", range(6))
def test_a_program_that_is_given_up_while_it_is_started_leaves_no_process(tmp_path: Path, steps: int) -> None:
    before = set(psutil.Process().children())

    async def main() -> None:
        task = asyncio.ensure_future(run_command(["sleep", "1000"], env=os.environ, cwd=tmp_path))
        for _ in range(steps):
            await asyncio.sleep(0)
        await give_up(task, impatient=True)

    asyncio.run(main())
    assert set(psutil.Process().children()) == before
