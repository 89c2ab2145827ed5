"""However a client ends, nothing of its pools outlives it: no process, no socket, no folder."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

import skyward as sky

RUNNING = """
@sky.compute
def busy():
    import subprocess
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    subprocess.Popen(["sleep", "1000"], start_new_session=True, env={})
    print("at work", flush=True)
    time.sleep(1000)

def notice(event):
    if isinstance(event, sky.LogLine):
        say(event.line)
"""

IDLE = """
with pool(nodes=2):
    say("idle")
    time.sleep(1000)
"""

TASK = (
    RUNNING
    + """
with pool(nodes=2, on_event=notice) as p:
    busy() >> p
"""
)

PROVISIONING = """
import skyward._local_processes as processes
start = processes.start
def slowly(name, folder, identity):
    machine = start(name, folder, identity)
    if name.endswith("-1"):
        say("provisioning")
        time.sleep(1000)
    return machine
processes.start = slowly
with pool(nodes=3):
    pass
"""

TEARING_DOWN = """
import skyward._local as local
end = local.LocalSession.terminate
async def slowly(self, ids):
    import asyncio
    say("tearing down")
    await asyncio.sleep(0.5)
    await end(self, ids)
local.LocalSession.terminate = slowly
with pool(nodes=2):
    say("idle")
"""

MOMENTS = {"idle": IDLE, "at work": TASK, "tearing down": TEARING_DOWN}


def nothing_is_left(home: Any) -> None:
    assert home.all_ended()
    assert home.files() == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_client_that_is_asked_to_end_leaves_nothing(
    home: Any, client: Callable[..., Any], moment: str, how: signal.Signals
) -> None:
    program = client(MOMENTS[moment])
    program.hear(moment)
    program.signal(how)
    status = program.end()
    assert status != 0
    assert home.processes() == [], "the client has ended before its machines"
    assert home.files() == []
    assert home.ledgers() == []


def test_a_second_ctrl_c_says_what_is_still_being_removed(home: Any, client: Callable[..., Any]) -> None:
    program = client(TEARING_DOWN)
    program.hear("tearing down")
    program.signal(signal.SIGINT)
    program.signal(signal.SIGINT)
    assert program.end() != 0
    assert "still" in "".join(program.errors)
    assert home.processes() == []
    assert home.files() == []


@pytest.mark.parametrize("seed", range(8))
def test_ctrl_c_at_any_moment_of_the_start_leaves_nothing(home: Any, client: Callable[..., Any], seed: int) -> None:
    program = client(
        f"""
        def later():
            time.sleep({0.004 + 0.02 * seed})
            os.kill(os.getpid(), signal.SIGINT)
        import skyward._pool, skyward._engine, skyward._road, skyward._dispatcher, skyward._local
        try:
            threading.Thread(target=later, daemon=True).start()
            with pool(nodes=2):
                time.sleep(1000)
        except KeyboardInterrupt:
            say("interrupted")
        say("threads", sorted(thread.name for thread in threading.enumerate()))
        """
    )
    program.hear("interrupted")
    assert "skyward" not in program.hear("threads")
    assert program.end() == 0
    assert home.processes() == []
    assert home.files() == []


@pytest.mark.parametrize("moment", ["idle", "at work", "provisioning"])
def test_a_client_that_is_killed_leaves_nothing_once_its_lease_has_run_out(
    home: Any, client: Callable[..., Any], moment: str
) -> None:
    program = client(MOMENTS.get(moment, PROVISIONING))
    program.hear(moment)
    program.signal(signal.SIGKILL)
    program.end()
    nothing_is_left(home)


def test_the_default_lease_is_ten_seconds_and_ends_the_nodes(home: Any, client: Callable[..., Any]) -> None:
    program = client(TASK.replace("nodes=2", "nodes=2, lease='provider'"))
    program.hear("at work")
    program.signal(signal.SIGKILL)
    program.end()
    assert sky.Local.capabilities.default_lease == 10
    nothing_is_left(home)


ENDS = {
    "an exception in the block": "with pool() as p:\n    1 / 0",
    "sys.exit in the block": "with pool() as p:\n    sys.exit(3)",
    "the end of the program without the end of the block": "p = pool()\np.__enter__()",
    "sys.exit in a thread": """
        with pool() as p:
            thread = threading.Thread(target=sys.exit, args=(5,))
            thread.start()
            thread.join()
        """,
    "an exception in a thread that holds a pool": """
        def work():
            with pool() as p:
                1 / 0
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
    "the end of the program while a daemon thread holds a pool": """
        def work():
            with pool() as p:
                say("in")
                ready.set()
                time.sleep(1000)
        ready = threading.Event()
        threading.Thread(target=work, daemon=True).start()
        ready.wait()
        """,
    "os._exit": "with pool() as p:\n    os._exit(0)",
    "a crash": "with pool() as p:\n    import ctypes; ctypes.string_at(0)",
}


@pytest.mark.parametrize("end", ENDS)
def test_no_end_of_a_program_leaves_anything(home: Any, client: Callable[..., Any], end: str) -> None:
    program = client(ENDS[end])
    program.end()
    if end not in ("os._exit", "a crash"):
        assert home.processes() == [], "".join(program.errors)
        assert home.ledgers() == []
    nothing_is_left(home)


def test_a_forked_child_neither_ends_the_pool_nor_uses_it(home: Any, client: Callable[..., Any]) -> None:
    program = client(
        """
        import multiprocessing, warnings
        warnings.simplefilter("ignore")
        @sky.compute
        def double(x):
            return 2 * x
        def use(queue):
            try:
                queue.put(double(1) >> p)
            except Exception as error:
                queue.put(f"{type(error).__name__}: {error}")
        with pool() as p:
            double(1) >> p
            child = os.fork()
            if not child:
                sys.exit(0)
            say("left by sys.exit", os.waitpid(child, 0)[1])
            child = os.fork()
            if not child:
                raise ValueError
            say("left by an exception", os.waitpid(child, 0)[1])
            context = multiprocessing.get_context("fork")
            queue = context.Queue()
            process = context.Process(target=use, args=(queue,))
            process.start()
            say("used:", queue.get(timeout=60))
            process.join()
            say("result", double(21) >> p)
        say("over")
        """
    )
    assert program.hear("used:").startswith("UsageError: this pool belongs to another process")
    assert program.hear("result") == "42"
    program.hear("over")
    assert program.end() == 0
    nothing_is_left(home)


def test_a_forked_child_that_lives_on_does_not_keep_the_nodes_alive(home: Any, client: Callable[..., Any]) -> None:
    program = client(
        """
        with pool() as p:
            child = os.fork()
            if not child:
                os.execv("/bin/sleep", ["sleep", "1000"])
        say("left", child)
        sys.stdin.read()
        os.kill(child, 9)
        """
    )
    child = int(program.hear("left"))
    assert sorted(home.processes()) == sorted([program.process.pid, child])
    program.process.stdin.close()
    assert program.end() == 0
    nothing_is_left(home)
