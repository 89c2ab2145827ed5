"""Ctrl-C and SIGTERM around pools, and retries after deaths."""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

import skyward as sky


def test_sigterm_means_again_what_it_meant_before(provider: Any) -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with sky.ComputePool(provider, display="quiet"):
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        with sky.ComputePool(provider, display="quiet"):
            pass
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_is_given_back_by_pools_of_every_kind(provider: Any) -> None:
    import asyncio

    async def main() -> None:
        async with sky.ComputePool(provider, display="quiet"):
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL

    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with sky.MultiPool(*(sky.ComputePool(provider, display="quiet") for _ in range(2))):
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with sky.Executor(provider, display="quiet"):
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(sky.NoAvailableProviderError), sky.ComputePool(provider, cpu=1_000_000, display="quiet"):
        pass
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_handler_of_the_programs_own_stays(provider: Any) -> None:
    def mine(number: int, frame: Any) -> None: ...

    signal.signal(signal.SIGTERM, mine)
    try:
        with sky.ComputePool(provider, display="quiet"):
            assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


PROGRAM = """
    import os, signal, sys, threading
    import skyward as sky

    @sky.compute
    def endless():
        import os, threading
        print("pid", os.getpid(), flush=True)
        threading.Event().wait()

    @sky.compute
    def double(x):
        return 2 * x

    begun = threading.Event()

    def on_event(event):
        if isinstance(event, sky.LogLine):
            print(event.line, flush=True)
            os.kill(os.getpid(), signal.SIGNAL)
        elif isinstance(event, sky.ClusterDestroyed):
            print("destroyed", flush=True)

    with sky.ComputePool(PROVIDER, display="quiet", on_event=on_event) as pool:
        DISPATCH
    print("not reached")
"""


def _gone(lines: list[str]) -> bool:
    pid = int(next(line for line in lines if line.startswith("pid ")).split()[1])
    return not Path(f"/proc/{pid}").exists()


def test_sigterm_leaves_the_block_in_order(script: Any) -> None:
    done = script(PROGRAM.replace("SIGNAL", "SIGTERM").replace("DISPATCH", "endless() >> pool"), check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 128 + signal.SIGTERM
    assert lines[1:] == ["destroyed"]
    assert _gone(lines)


def test_ctrl_c_in_a_dispatch_ends_the_program_in_order(script: Any) -> None:
    done = script(PROGRAM.replace("SIGNAL", "SIGINT").replace("DISPATCH", "endless() >> pool"), check=False)
    lines = done.stdout.splitlines()
    assert done.returncode in (-signal.SIGINT, 1)
    assert "KeyboardInterrupt" in done.stderr
    assert lines[1:] == ["destroyed"]
    assert _gone(lines)


GO_ON = """
        try:
            endless() >> pool
        except KeyboardInterrupt:
            print("interrupted", double(4) >> pool, flush=True)
        try:
            sky.gather(endless(), endless()) >> pool
        except KeyboardInterrupt:
            print("again", double(5) >> pool, flush=True)
        sys.exit(7)
"""


def test_after_ctrl_c_in_a_dispatch_the_pool_is_usable(script: Any) -> None:
    source = textwrap.dedent(PROGRAM).replace("SIGNAL", "SIGINT").replace("    DISPATCH", GO_ON)
    done = script(source, check=False)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("pid ")]
    assert lines == ["interrupted 8", "again 10", "destroyed"]
    assert done.returncode == 7


ASYNC = """
    import asyncio, os, signal, sys
    import skyward as sky

    @sky.compute
    def endless():
        import os, threading
        print("pid", os.getpid(), flush=True)
        threading.Event().wait()

    def on_event(event):
        if isinstance(event, sky.LogLine):
            print(event.line, flush=True)
            os.kill(os.getpid(), signal.SIGNAL)
        elif isinstance(event, sky.ClusterDestroyed):
            print("destroyed", flush=True)

    async def main():
        async with sky.ComputePool(PROVIDER, display="quiet", on_event=on_event) as pool:
            await pool.arun(endless())

    asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_an_asynchronous_block_is_left_in_order_too(script: Any, name: str) -> None:
    done = script(ASYNC.replace("SIGNAL", name), check=False)
    lines = done.stdout.splitlines()
    assert done.returncode != 0
    assert lines[1:] == ["destroyed"]
    assert _gone(lines)


UNENTERED = """
    import skyward as sky

    @sky.compute
    def pid():
        import os
        return os.getpid()

    pool = sky.ComputePool(PROVIDER, display="quiet", on_event=lambda event: print(type(event).__name__, flush=True))
    pool.__enter__()
    print("pid", pid() >> pool, flush=True)
"""


def test_a_pool_that_is_never_left_is_ended_with_the_program(script: Any) -> None:
    lines = script(UNENTERED).stdout.splitlines()
    assert lines[-1] == "ClusterDestroyed"
    assert _gone(lines)


def test_sigterm_after_a_pool_that_another_thread_left_ends_the_program_as_ever(script: Any) -> None:
    done = script(
        """
        import os, signal, threading
        import skyward as sky
        pool = sky.ComputePool(PROVIDER, display="quiet")
        pool.__enter__()
        leave = threading.Thread(target=pool.__exit__, args=(None, None, None))
        leave.start()
        leave.join()
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        check=False,
    )
    assert done.returncode == -signal.SIGTERM


def test_a_task_that_may_run_again_survives_the_death_of_its_slot(provider: Any, recorder: Any, tmp_path: Path) -> None:
    mark = f"/tmp/skyward-mark-{os.getpid()}-{tmp_path.name}"

    @sky.compute(retry=1)
    def die_once() -> str:
        import os

        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            os.unlink(mark)
            return "the second time"
        os.kill(os.getpid(), 9)
        return "unreachable"

    with sky.ComputePool(provider, display="quiet", on_event=recorder) as pool:
        assert die_once() >> pool == "the second time"
        assert pool.submit(die_once()).result(60) == "the second time"
        assert die_once() @ pool == ("the second time",)
    assert len(recorder.of(sky.TaskStarted)) == 6
    assert [event.succeeded for event in recorder.of(sky.TaskCompleted)] == [True] * 3


def test_a_task_that_dies_more_often_than_it_may_run_fails(provider: Any, double: Any) -> None:
    @sky.compute(retry=1)
    def die() -> None:
        import os

        os._exit(3)

    with sky.ComputePool(provider, display="quiet") as pool:
        with pytest.raises(sky.SlotDied, match="exit code 3") as caught:
            die() >> pool
        assert caught.value.exit_code == 3
        assert double(1) >> pool == 2


def test_without_retry_a_dead_slot_is_named_as_what_it_was(provider: Any, double: Any) -> None:
    @sky.compute
    def die(number: int) -> None:
        import os

        os.kill(os.getpid(), number)

    with sky.ComputePool(provider, display="quiet") as pool:
        for name in ("SIGKILL", "SIGSEGV", "SIGTERM"):
            with pytest.raises(sky.SlotDied, match=name) as caught:
                die(getattr(signal, name)) >> pool
            assert caught.value.signal == getattr(signal, name)
            assert double(1) >> pool == 2


def test_an_exception_is_no_reason_to_run_again(provider: Any, recorder: Any) -> None:
    @sky.compute(retry=3)
    def fail() -> None:
        raise ValueError("once")

    with sky.ComputePool(provider, display="quiet", on_event=recorder) as pool, pytest.raises(ValueError):
        fail() >> pool
    assert len(recorder.of(sky.TaskStarted)) == 1
