"""Ctrl-C, SIGTERM and SIGHUP around pools, and retries after deaths."""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

import skyward as sky

HANDLERS = """
    import asyncio, signal
    import skyward as sky

    def default():
        found = [signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL]
        return [*found, signal.getsignal(signal.SIGINT) is signal.default_int_handler]

    def make(**parameters):
        return sky.ComputePool(PROVIDER, display="quiet", **parameters)

    assert default() == [True, True]
    with make():
        assert default()[0] is False
        with make():
            pass
        assert default()[0] is False
    assert default() == [True, True]

    async def main():
        async with make():
            assert default()[0] is False

    asyncio.run(main())
    assert default() == [True, True]
    with sky.MultiPool(make(), make()):
        assert default()[0] is False
    assert default() == [True, True]
    with sky.Executor(PROVIDER, display="quiet"):
        assert default()[0] is False
    assert default() == [True, True]
    try:
        make(cpu=1_000_000).__enter__()
    except sky.NoAvailableProviderError:
        assert default() == [True, True]

    assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL

    async def own():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
        async with make():
            pass
        own = signal.set_wakeup_fd(-1)
        assert own != -1
        signal.set_wakeup_fd(own)

    asyncio.run(own())

    def mine(number, frame): ...

    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGINT, mine)
    with make():
        assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is mine
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is mine
    print("done")
"""


def test_signals_mean_after_a_pool_what_they_meant_before_and_handlers_of_the_programs_own_stay(script: Any) -> None:
    assert script(HANDLERS).stdout == "done\n"


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
        elif isinstance(event, sky.ClusterDestroyed):
            print("destroyed", flush=True)

    with sky.ComputePool(PROVIDER, display="quiet", on_event=on_event) as pool:
        DISPATCH
    print("not reached")
"""


@pytest.fixture
def signalled(start: Any) -> Any:
    """Run a program that prints a line from each task, and signal it at each; gives exit code, lines and errors."""

    def run(source: str, number: signal.Signals) -> tuple[int, list[str], str]:
        program = start(source)
        lines = []
        for line in program.stdout:
            lines.append(line.rstrip())
            if line.startswith("pid "):
                program.send_signal(number)
        _, errors = program.communicate(timeout=300)
        return program.returncode, lines, errors

    return run


def _gone(lines: list[str]) -> bool:
    """Whether the slot's process has ended; a container's ends with it, and its number may be another one's here."""
    pid = int(next(line for line in lines if line.startswith("pid ")).split()[1])
    try:
        return b"skyward" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_programs_leaves_the_block_in_order(signalled: Any, number: signal.Signals) -> None:
    code, lines, _ = signalled(PROGRAM.replace("DISPATCH", "endless() >> pool"), number)
    assert code == 128 + number
    assert lines[1:] == ["destroyed"]
    assert _gone(lines)


def test_ctrl_c_in_a_dispatch_ends_the_program_in_order(signalled: Any) -> None:
    code, lines, errors = signalled(PROGRAM.replace("DISPATCH", "endless() >> pool"), signal.SIGINT)
    assert code in (-signal.SIGINT, 1)
    assert "KeyboardInterrupt" in errors
    assert lines[1:] == ["destroyed"]
    assert _gone(lines)


GO_ON = """
        try:
            endless() >> pool
        except KeyboardInterrupt:
            print("interrupted", double(4) >> pool, flush=True)
        try:
            sky.gather(endless(), double(1), double(2)) >> pool
        except KeyboardInterrupt:
            print("again", double(5) >> pool, flush=True)
        sys.exit(7)
"""


def test_after_ctrl_c_in_a_dispatch_the_pool_is_usable(signalled: Any) -> None:
    source = textwrap.dedent(PROGRAM).replace("    DISPATCH", textwrap.indent(textwrap.dedent(GO_ON), " " * 8))
    code, lines, _ = signalled(source, signal.SIGINT)
    assert [line for line in lines if not line.startswith("pid ")] == ["interrupted 8", "again 10", "destroyed"]
    assert code == 7


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
        elif isinstance(event, sky.ClusterDestroyed):
            print("destroyed", flush=True)

    async def main():
        async with sky.ComputePool(PROVIDER, display="quiet", on_event=on_event) as pool:
            await pool.arun(endless())

    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_asynchronous_block_is_left_in_order_too(signalled: Any, number: signal.Signals) -> None:
    code, lines, _ = signalled(ASYNC, number)
    assert code != 0
    assert lines[1:] == ["destroyed"]
    assert _gone(lines)


TERMINAL = """
    import os, pty, sys
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(__file__), "inside.py")])
    said = b""
    while b"pid " not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
INSIDE = """
    import skyward as sky

    @sky.compute
    def endless():
        import os, threading
        print("pid", os.getpid(), flush=True)
        threading.Event().wait()

    def on_event(event):
        with open(__file__ + ".log", "a") as log:
            if isinstance(event, sky.LogLine):
                print(event.line, file=log)
            elif isinstance(event, sky.ClusterDestroyed):
                print("destroyed", file=log)

    with sky.ComputePool(PROVIDER, on_event=on_event) as pool:
        endless() >> pool
"""


def test_closing_the_terminal_ends_the_pool_in_order(script: Any, provider_source: str, tmp_path: Path) -> None:
    done = script(TERMINAL, inside=INSIDE.replace("PROVIDER", provider_source))
    assert done.stdout == f"{128 + signal.SIGHUP}\n"
    lines = (tmp_path / "inside.py.log").read_text().splitlines()
    assert lines[1:] == ["destroyed"]
    assert _gone(lines)


def test_a_program_that_ignores_a_closed_terminal_as_after_nohup_goes_on(script: Any) -> None:
    done = script(
        """
        import os, signal
        import skyward as sky

        @sky.compute
        def double(x):
            return 2 * x

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with sky.ComputePool(PROVIDER, display="quiet") as pool:
            os.kill(os.getpid(), signal.SIGHUP)
            print(double(2) >> pool)
        """
    )
    assert done.stdout == "4\n"


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
