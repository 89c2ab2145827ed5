"""What a process wrote before it died is told with the error, whatever the display shows."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import skyward as sky


@pytest.fixture(scope="module")
def pool(provider: Any) -> Iterator[sky.ComputePool]:
    with sky.ComputePool(provider, display="quiet", lease=60) as pool:
        yield pool


def words(error: BaseException) -> str:
    return "\n".join(note for note in error.__notes__ if note.startswith("what it wrote last to standard error:"))


def test_a_crash_of_native_code_says_its_reason_and_where_the_function_was(pool: sky.ComputePool) -> None:
    @sky.compute
    def write_and_abort() -> None:
        import os

        os.write(2, b"terminate called after throwing an instance of 'Enforced'\n  what():  the other end is gone\n")
        os.abort()

    with pytest.raises(sky.SlotDied, match="native code crashed") as caught:
        write_and_abort() >> pool
    said = words(caught.value)
    assert "\n      what():  the other end is gone\n" in said
    assert "Fatal Python error: Aborted" in said
    assert "in write_and_abort" in said
    assert "Extension modules" not in said
    assert words(pickle.loads(pickle.dumps(caught.value))) == said


def test_what_other_tasks_wrote_before_is_left_out(pool: sky.ComputePool) -> None:
    @sky.compute
    def write(text: str) -> None:
        import os

        os.write(2, text.encode())

    @sky.compute
    def leave() -> None:
        import os

        os.write(2, b"cannot go on\n")
        os._exit(4)

    write("of another one\n") >> pool
    with pytest.raises(sky.SlotDied, match="exit code 4") as caught:
        leave() >> pool
    assert words(caught.value).splitlines()[1:] == ["    cannot go on"]


def test_who_wrote_nothing_is_said_nothing_of(pool: sky.ComputePool) -> None:
    @sky.compute
    def quit_silently() -> None:
        import os

        os._exit(5)

    with pytest.raises(sky.SlotDied, match="exit code 5") as caught:
        quit_silently() >> pool
    assert not getattr(caught.value, "__notes__", [])
