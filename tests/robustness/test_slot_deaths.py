"""A slot that dies takes its own task only, says how it died, and serves again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward import _dispatcher

from .conftest import PATIENCE


def runs(folder: Path, task: object) -> int:
    """How often a task has noted that it ran."""
    return sum(name.name.startswith(f"{task}.") for name in folder.iterdir())


@sky.compute
def _one() -> int:
    return 1


def how_to_die(how: str) -> Any:
    @sky.compute
    def die() -> None:
        import ctypes
        import os
        import signal

        if how == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "SIGSEGV":
            ctypes.string_at(0)
        else:
            os._exit(3)

    return die


@pytest.mark.parametrize(
    ("how", "number", "code"),
    [("SIGKILL", signal.SIGKILL, None), ("SIGSEGV", signal.SIGSEGV, None), ("os._exit", None, 3)],
)
def test_the_error_says_how_the_process_died_and_the_slot_serves_again(
    small: Callable[..., Any], how: str, number: int | None, code: int | None
) -> None:
    die = how_to_die(how)

    @sky.compute
    def pid() -> int:
        import os

        return os.getpid()

    lines: list[str] = []
    with small() as pool:
        pool.on(sky.LogLine, lambda event: lines.append(event.line))
        before = pid() >> pool
        with pytest.raises(sky.SlotDied) as caught:
            die() >> pool
        assert (caught.value.signal, caught.value.exit_code) == (number, code)
        assert not caught.value.out_of_memory
        assert (caught.value.node, caught.value.slot) == (0, 0)
        assert "die" in str(caught.value)
        assert pid() >> pool != before
    if how == "SIGSEGV":
        assert any("Segmentation fault" in line for line in lines)
        assert any("in die" in line for line in lines), "faulthandler names the function"


def test_the_tasks_of_other_slots_go_on(small: Callable[..., Any], tmp_path: Path) -> None:
    die = how_to_die("SIGKILL")

    @sky.compute
    def wait() -> str:
        import time

        (tmp_path / "waiting").touch()
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        return "went on"

    with small(concurrency=2) as pool:
        waiting = pool.submit(wait())
        with pytest.raises(sky.SlotDied):
            die() >> pool
        (tmp_path / "go").touch()
        assert waiting.result(PATIENCE) == "went on"


@pytest.mark.parametrize("slots", [1, 2])
def test_tasks_that_waited_or_were_sent_ahead_run_exactly_once(
    small: Callable[..., Any], tmp_path: Path, slots: int
) -> None:
    @sky.compute
    def note(number: int) -> int:
        import os
        import secrets
        import signal

        (tmp_path / f"{number}.{secrets.token_hex(4)}").touch()
        if number % 7 == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with small(concurrency=slots) as pool:
        _ = sky.gather(*(_one() for _ in range(20))) >> pool
        results = sky.gather(*(note(number) for number in range(60)), return_exceptions=True) >> pool
    for number, result in enumerate(results):
        if number % 7 == 3:
            assert isinstance(result, sky.SlotDied), result
        else:
            assert result == number
        assert runs(tmp_path, number) == 1


def test_a_task_that_may_run_twice_is_run_again_after_its_slot_has_died(
    small: Callable[..., Any], tmp_path: Path
) -> None:
    @sky.compute(retry=2)
    def die_twice() -> int:
        import os
        import signal

        count = len(list(tmp_path.iterdir()))
        (tmp_path / f"{count}").touch()
        if count < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return count

    @sky.compute(retry=1)
    def die_always() -> None:
        import os

        os._exit(9)

    with small() as pool:
        assert die_twice() >> pool == 2
        with pytest.raises(sky.SlotDied):
            die_always() >> pool


def test_a_task_before_whose_start_slots_die_fails_at_last(small: Callable[..., Any]) -> None:
    """As one whose arguments are larger than the node's memory would."""

    class Deadly:
        def __reduce__(self) -> Any:
            return _kill_the_receiver, ()

    @sky.compute
    def take(value: object) -> None:
        pass

    with small() as pool:
        assert _one() >> pool == 1
        with pytest.raises(sky.SlotDied):
            take(Deadly()) >> pool
        assert _one() >> pool == 1


def _kill_the_receiver() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_slot_that_cannot_start_ends_its_node_with_the_reason(
    at_home: Any, small: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cloudpickle.py").write_text("raise RuntimeError('this environment is broken')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "broken"))
        with pytest.raises(sky.SkywardError, match="this environment is broken"), small():
            pass
    assert at_home.files() == []


def test_a_copy_of_the_slot_that_a_task_forks_does_not_answer_in_its_place(small: Callable[..., Any]) -> None:
    @sky.compute
    def fork_and_return() -> int:
        import os
        import warnings

        warnings.simplefilter("ignore")
        child = os.fork()
        if not child:
            return -1
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    @sky.compute
    def fork_and_raise() -> int:
        import os
        import warnings

        warnings.simplefilter("ignore")
        child = os.fork()
        if not child:
            raise SystemExit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with small() as pool:
        assert fork_and_return() >> pool == 0
        assert fork_and_raise() >> pool == 7
        assert _one() >> pool == 1


MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(
    not (MEMORY / "memory.limit_in_bytes").exists(), reason="needs control groups of version 1, as root"
)
def test_a_slot_that_the_kernel_kills_for_memory_is_named_so(small: Callable[..., Any]) -> None:
    group = MEMORY / f"skyward-{__import__('os').getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")

    @sky.compute
    def move(group: str) -> None:
        import os

        with open(f"{group}/memory.limit_in_bytes", "w") as file:
            file.write(str(150 << 20))
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(os.getppid()))
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))

    @sky.compute
    def eat() -> int:
        return len(bytearray(b"x") * (1 << 30))

    try:
        with small() as pool:
            move(str(group)) >> pool
            with pytest.raises(sky.SlotDied) as caught:
                eat() >> pool
            assert caught.value.out_of_memory
            assert caught.value.signal == signal.SIGKILL
            assert "memory ran out" in str(caught.value)
            assert _one() >> pool == 1
    finally:
        group.rmdir()


def test_the_number_of_slots_that_one_task_may_cost_is_bounded() -> None:
    assert 1 < _dispatcher._VICTIMS < 10
