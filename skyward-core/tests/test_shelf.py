"""Shared arguments on a node: received piece by piece, checked, mapped, found by other slots, and forgotten again."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward.worker import shared
from skyward.worker.shared import DIGEST, Held, Place, Shelf, Spoilt, packed, to_forget

CONTENT = bytes(range(256)) * 40


def name_of(content: bytes) -> bytes:
    return blake2b(content, digest_size=DIGEST).digest()


def table(*contents: bytes, first: int = 0) -> bytes:
    return packed(Place(first + number, name_of(each), len(each)) for number, each in enumerate(contents))


def bring(shelf: Shelf, content: bytes, *, digest: bytes | None = None, step: int = 4000) -> bool | None:
    """Have a content arrive; returns what was said with the last piece of it."""
    digest = name_of(content) if digest is None else digest
    said = None
    for offset in range(0, len(content), step):
        assert said is None
        said = shelf.take(digest, offset, len(content), content[offset : offset + step])
    return said


def merged(shelf: Shelf, *contents: bytes) -> list[bytes]:
    assert shelf.missing(table(*contents)) == []
    return [bytes(memoryview(part)) for part in shelf.merged([b"the pickle", table(*contents)])]


def test_what_has_arrived_is_mapped_read_only_from_a_file_of_this_user_alone(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path), "slot-0")
    assert shelf.missing(table(CONTENT)) == [name_of(CONTENT)]
    assert bring(shelf, CONTENT) is True
    assert shelf.missing(table(CONTENT)) == []
    (mapped,) = shelf.merged([b"the pickle", table(CONTENT)])
    assert bytes(memoryview(mapped)) == CONTENT
    assert memoryview(mapped).readonly
    assert not np.frombuffer(mapped, np.uint8).flags.writeable
    (file,) = (tmp_path / "shared").iterdir()
    assert file.read_bytes() == CONTENT
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_call_writes_to_its_own_copy_where_it_gets_one(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path), "slot-0")
    bring(shelf, CONTENT)
    places = packed([Place(0, name_of(CONTENT), len(CONTENT), copied=True)])
    for _ in range(2):
        assert shelf.missing(places) == []
        (part,) = shelf.merged([b"the pickle", places])
        memory = memoryview(part)
        assert bytes(memory) == CONTENT
        memory[0] ^= 1
    assert merged(shelf, CONTENT) == [CONTENT]


def test_the_other_slots_of_the_node_find_it(tmp_path: Path) -> None:
    assert bring(Shelf(str(tmp_path), "slot-0"), CONTENT)
    assert merged(Shelf(str(tmp_path), "slot-1"), CONTENT) == [CONTENT]


def test_shared_contents_come_back_to_their_places_among_the_others(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path), "slot-0")
    one, two = CONTENT, CONTENT[::-1]
    bring(shelf, one)
    bring(shelf, two)
    places = packed([Place(0, name_of(one), len(one)), Place(2, name_of(two), len(two)), Place(3, name_of(one), 1)])
    assert shelf.missing(places) == []
    parts = shelf.merged([b"the pickle", b"a", b"b", places])
    assert [bytes(memoryview(part)) for part in parts] == [one, b"a", two, one, b"b"]


def test_what_is_missing_is_named_once(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path), "slot-0")
    assert shelf.missing(table(CONTENT, CONTENT, b"x", CONTENT)) == [name_of(CONTENT), name_of(b"x")]


def test_a_content_that_is_not_what_it_is_called_fails_its_task_and_leaves_no_file(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path), "slot-0")
    assert bring(shelf, CONTENT[::-1], digest=name_of(CONTENT)) is False
    assert shelf.missing(table(CONTENT)) == []
    with pytest.raises(Spoilt, match=r"of 10240 bytes was changed .*: leave the arrays of calls alone"):
        shelf.merged([b"", table(CONTENT)])
    assert list((tmp_path / "shared").iterdir()) == []
    assert shelf.missing(table(CONTENT)) == [name_of(CONTENT)], "another task may bring it as it should be"
    assert bring(shelf, CONTENT)
    assert merged(shelf, CONTENT) == [CONTENT]


def test_what_begins_anew_replaces_what_was_cut_off(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path), "slot-0")
    digest, size = name_of(CONTENT), len(CONTENT)
    assert shelf.take(digest, 0, size, CONTENT[:5000]) is None
    assert shelf.take(digest, 6000, size, CONTENT[6000:]) is None, "there is a gap before it"
    assert bring(shelf, CONTENT) is True
    assert shelf.take(digest, 5000, size, CONTENT[5000:]) is None, "it is whole already"
    assert merged(shelf, CONTENT) == [CONTENT]
    assert len(list((tmp_path / "shared").iterdir())) == 1


def test_a_file_that_has_lost_its_end_is_asked_for_again(tmp_path: Path) -> None:
    bring(Shelf(str(tmp_path), "slot-0"), CONTENT)
    (file,) = (tmp_path / "shared").iterdir()
    os.truncate(file, 10)
    shelf = Shelf(str(tmp_path), "slot-1")
    assert shelf.missing(table(CONTENT)) == [name_of(CONTENT)]
    bring(shelf, CONTENT)
    assert merged(shelf, CONTENT) == [CONTENT]


@pytest.mark.parametrize("written", [0, 1, 2])
def test_where_the_disk_is_full_it_is_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    real, calls = os.pwrite, []

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        calls.append(offset)
        if len(calls) > written:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    shelf = Shelf(str(tmp_path), "slot-0")
    assert bring(shelf, CONTENT) is True
    assert merged(shelf, CONTENT) == [CONTENT]
    assert memoryview(shelf.merged([b"", table(CONTENT)])[0]).readonly
    assert list((tmp_path / "shared").iterdir()) == []
    assert Shelf(str(tmp_path), "slot-1").missing(table(CONTENT)) == [name_of(CONTENT)]


def test_where_there_is_no_folder_it_is_kept_in_memory(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path / "none"), "slot-0")
    assert bring(shelf, CONTENT) is True
    assert merged(shelf, CONTENT) == [CONTENT]


def test_where_there_is_no_memory_either_the_task_fails_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(size: int) -> Any:
        raise MemoryError("not a byte")

    monkeypatch.setattr(shared, "allocate", allocate)
    shelf = Shelf(str(tmp_path / "none"), "slot-0")
    assert shelf.take(name_of(CONTENT), 0, len(CONTENT), CONTENT[:5000]) is False
    assert shelf.take(name_of(CONTENT), 5000, len(CONTENT), CONTENT[5000:]) is None
    assert shelf.missing(table(CONTENT)) == []
    with pytest.raises(Spoilt, match=r"cannot be kept on its node: not a byte; take machines with more memory or disk"):
        shelf.merged([b"", table(CONTENT)])


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    contents = [bytes([number]) * 1000 for number in range(4)]
    shelf = Shelf(str(tmp_path), "slot-0", limit=3000)
    for content in contents[:3]:
        bring(shelf, content)
    merged(shelf, contents[0])
    bring(shelf, contents[3])
    files = {file.read_bytes() for file in (tmp_path / "shared").iterdir()}
    assert files == {contents[0], contents[2], contents[3]}
    assert Shelf(str(tmp_path), "slot-1").missing(table(contents[1])) == [name_of(contents[1])]


def test_a_task_that_needs_more_than_the_limit_has_all_of_it_at_once(tmp_path: Path) -> None:
    contents = [bytes([number]) * 1000 for number in range(3)]
    shelf = Shelf(str(tmp_path), "slot-0", limit=1500)
    assert len(shelf.missing(table(*contents))) == 3
    for content in contents:
        bring(shelf, content)
    assert merged(shelf, *contents) == contents


def test_what_another_slot_removes_stays_with_whom_it_is_mapped(tmp_path: Path) -> None:
    one, two = Shelf(str(tmp_path), "slot-0", limit=1500), Shelf(str(tmp_path), "slot-1", limit=1500)
    first, second = b"1" * 1000, b"2" * 1000
    bring(one, first)
    bring(two, second)
    assert [file.read_bytes() for file in (tmp_path / "shared").iterdir()] == [second]
    assert merged(one, first) == [first]


HELD = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=8).map(
    lambda found: [Held(str(number), size, used) for number, (size, used) in enumerate(found)]
)


@given(held=HELD, coming=st.integers(0, 100), limit=st.integers(0, 150), needed=st.sets(st.sampled_from("01234567")))
def test_no_more_is_forgotten_than_room_is_needed_for(
    held: list[Held], coming: int, limit: int, needed: set[str]
) -> None:
    names = to_forget(held, coming, limit, needed=needed)
    gone = [file for name in names for file in held if file.name == name]
    kept = [file for file in held if file not in gone]
    assert len(gone) == len(set(names))
    assert not needed & set(names)
    left = sum(file.size for file in kept) + coming
    assert left <= limit or {file.name for file in kept} <= needed
    if gone:
        assert left + gone[-1].size > limit
        assert all(file.used >= gone[-1].used for file in kept if file.name not in needed)
