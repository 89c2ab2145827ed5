"""How functions that run together on real nodes end: all of them, for the cause that was the first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from group_meeting import meet as meet
from group_meeting import pool as pool
from group_meeting import together, until

import skyward as sky
from skyward.spi import current_group


@pytest.fixture
def heard(pool: sky.ComputePool, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Of the ranks of the function of this name: a folder with a file for each whose end the client has heard of."""
    remove: list[Callable[[], object]] = []

    def heard(name: str) -> Path:
        folder = tmp_path / "heard"
        folder.mkdir()

        def note(event: sky.TaskCompleted) -> None:
            if event.name == name:
                (folder / f"{event.node}.{event.slot}").touch()

        remove.append(pool.on(sky.TaskCompleted, note))
        return folder

    yield heard
    for each in remove:
        each()


def test_the_first_that_fails_ends_the_others_and_says_what_became_of_them(
    pool: sky.ComputePool, tmp_path: Path, heard: Callable[[str], Path]
) -> None:
    @together
    def fail_once() -> None:

        group: Any = current_group()
        if group.rank == 2:
            others = (completed / "1.1", tmp_path / "sleeps0", tmp_path / "sleeps1")
            until(lambda: all(path.exists() for path in others))
            raise ValueError("the cause")
        if group.rank == 3:
            return
        try:
            (tmp_path / f"sleeps{group.rank}").touch()
            time.sleep(1000)
        except KeyboardInterrupt:
            (tmp_path / f"stopped{group.rank}").touch()
            raise

    completed = heard("fail_once")

    with pytest.raises(ValueError, match="the cause") as caught:
        fail_once() @ pool
    (note,) = [note for note in caught.value.__notes__ if note.startswith("this ended")]
    assert note == (
        "this ended rank 2 (node 1, slot 0) of the 4 of fail_once; of the others, each of ranks 0, 1 was stopped; "
        "rank 3 had completed"
    )
    assert sorted(path.name for path in tmp_path.glob("stopped*")) == ["stopped0", "stopped1"]
    assert len(together(os.getpid)() @ pool) == 4


def test_a_consequence_does_not_hide_its_cause_although_it_arrives_first(
    pool: sky.ComputePool, tmp_path: Path, heard: Callable[[str], Path]
) -> None:
    def fail_last() -> None:

        from skyward.spi import uninterrupted

        group: Any = current_group()
        try:
            if group.rank == 3:
                raise ValueError("the cause")
            raise ConnectionResetError("connection closed by peer")
        finally:
            with uninterrupted():  # a second after the first is heard of, the others are told to stop
                (begun / f"{group.rank}").touch()
                until(lambda: len(list(begun.iterdir())) == 4)
                if group.rank == 3:
                    until(lambda: len(list(followed.iterdir())) == 3)

    begun = tmp_path / "begun"
    begun.mkdir()
    followed = heard("fail_last")
    fail_last.is_consequence = lambda error: isinstance(error, ConnectionError)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="the cause") as caught:
        together(fail_last)() @ pool
    assert "each of ranks 0, 1, 2 ended with ConnectionResetError" in "".join(caught.value.__notes__)


def test_a_cause_that_is_told_after_all_others_were_stopped_is_the_cause_all_the_same(
    pool: sky.ComputePool, tmp_path: Path
) -> None:
    def fail() -> None:

        from skyward.spi import uninterrupted

        group: Any = current_group()
        if group.rank == 0:
            until(lambda: len(list(tmp_path.glob("begun*"))) == 3)
            raise ConnectionResetError("connection closed by peer")
        try:
            if group.rank == 3:
                raise ValueError("the cause")
            (tmp_path / f"begun{group.rank}").touch()
            time.sleep(1000)
        finally:
            with uninterrupted():
                (tmp_path / f"{'stopped' if group.rank != 3 else 'begun'}{group.rank}").touch()
                until(lambda: len(list(tmp_path.glob("stopped*"))) == 2)

    fail.is_consequence = lambda error: isinstance(error, ConnectionError)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="the cause") as caught:
        together(fail)() @ pool
    notes = "".join(caught.value.__notes__)
    assert "this ended rank 3" in notes
    assert "rank 0 ended with ConnectionResetError" in notes
    assert "each of ranks 1, 2 was stopped" in notes


def stick(told: Path) -> None:
    """Be in native code for ever, which never looks for signals; ``told`` has its byte when it is so."""
    with told.open("wb", buffering=0) as file:
        sum(chain(map(file.write, [b"1"]), repeat(1)))


def test_a_rank_that_is_stuck_in_native_code_is_killed(pool: sky.ComputePool, tmp_path: Path) -> None:
    @together
    def fail() -> None:

        group: Any = current_group()
        if group.rank == 1:
            until(lambda: sum(path.stat().st_size for path in tmp_path.iterdir()) == 3)
            raise ValueError("the cause")
        stick(tmp_path / f"{group.rank}")

    before = together(os.getpid)() @ pool
    with pytest.raises(ValueError, match="the cause") as caught:
        fail() @ pool
    assert "each of ranks 0, 2, 3 was stopped" in "".join(caught.value.__notes__)
    after = together(os.getpid)() @ pool
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, False, False]


@pytest.mark.parametrize("retry", [0, 1])
def test_a_process_that_dies_ends_the_group_and_with_retry_all_of_it_runs_again(
    pool: sky.ComputePool, tmp_path: Path, meet: Any, retry: int
) -> None:
    def die() -> Any:
        import os
        import signal

        group: Any = current_group()
        (tmp_path / f"{group.call}.{group.rank}").touch()
        meet()
        if group.rank == 1 and len({path.stem for path in tmp_path.iterdir()}) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if len({path.stem for path in tmp_path.iterdir()}) == 1:
            import time

            time.sleep(1000)
        return group.call

    run = together(die, retry)
    if retry:
        assert len(set(run() @ pool)) == 1
        calls = {path.stem for path in tmp_path.iterdir()}
        assert len(calls) == 2
        assert len(list(tmp_path.iterdir())) == 8
    else:
        with pytest.raises(sky.SlotDied) as caught:
            run() @ pool
        assert (caught.value.node, caught.value.slot, caught.value.signal) == (0, 1, 9)
        assert "rank 1" in "".join(caught.value.__notes__)
        assert len(list(tmp_path.iterdir())) == 4


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    def add_note(self, note: str) -> None:
        raise RuntimeError("no words")


def test_an_error_whose_text_cannot_be_had_ends_the_call_all_the_same(pool: sky.ComputePool) -> None:
    @together
    def fail() -> None:
        raise Unspeakable

    told: list[sky.TaskCompleted] = []
    end = pool.on(sky.TaskCompleted, told.append)
    with pytest.raises(Unspeakable):
        fail() @ pool
    end()
    assert len(told) == 4
    assert len(together(os.getpid)() @ pool) == 4


def test_a_process_that_ends_by_itself_after_the_stop_is_told_of_and_one_that_had_to_be_killed_was_stopped(
    pool: sky.ComputePool, tmp_path: Path
) -> None:
    @together
    def fail() -> None:

        group: Any = current_group()
        if group.rank == 0:
            until(lambda: sum(path.stat().st_size for path in tmp_path.iterdir()) == 3)
            raise ValueError("the cause")
        if group.rank == 1:
            try:
                (tmp_path / "1").write_bytes(b"1")
                time.sleep(1000)
            except KeyboardInterrupt:
                os._exit(7)
        stick(tmp_path / f"{group.rank}")

    with pytest.raises(ValueError, match="the cause") as caught:
        fail() @ pool
    notes = "".join(caught.value.__notes__)
    assert "rank 1 ended with SlotDied: the process that ran fail on node 0, slot 1 ended with exit code 7" in notes
    assert "each of ranks 2, 3 was stopped" in notes
