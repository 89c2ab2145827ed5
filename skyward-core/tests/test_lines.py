"""Bytes become the same lines however they are divided, and none of them gets lost."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from skyward.worker.lines import LineSplitter

pieces = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b" ", b"\x1b[A", "é€😀".encode(), b"\xff", b"x" * 9]))


def split(chunks: list[bytes], limit: int = 8) -> list[str]:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.flush()


def test_lines_end_at_any_line_end() -> None:
    assert split([b"a\nb\r\nc\rd"]) == ["a", "b", "c", "d"]


def test_a_blank_line_counts_unless_a_lone_return_ends_it() -> None:
    assert split([b"a\n\n\r\nb\r\r\rc\n"]) == ["a", "", "", "b", "c"]


def test_cursor_movements_alone_are_no_line() -> None:
    assert split([b"a\n\x1b[A\r\x1b[2K\rb\n\x1b[A\n"]) == ["a", "b"]


def test_a_line_is_given_out_as_soon_as_it_ends() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\r") == ["one"]
    assert splitter.feed(b"\ntw") == []
    assert splitter.feed(b"o\n") == ["two"]
    assert not splitter.pending


def test_a_refreshed_line_is_given_out_once() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"\r10%") == []
    assert splitter.refresh() == ["10%"]
    assert splitter.refresh() == []
    assert splitter.feed(b"\r20%") == []
    assert splitter.refresh() == ["20%"]
    assert splitter.feed(b"\nnext\n") == ["next"]


def test_an_ordinary_unfinished_line_waits_for_its_end() -> None:
    splitter = LineSplitter()
    splitter.feed(b"working...")
    assert splitter.refresh() == []
    assert splitter.feed(b" done\n") == ["working... done"]


def test_a_long_line_is_cut_between_characters() -> None:
    text = "é" * 10
    lines = split([text.encode()], limit=9)
    assert "".join(lines) == text
    assert all(len(line.encode()) <= 9 for line in lines)


def test_a_line_of_just_the_limit_is_one_line() -> None:
    assert split([b"12345678", b"\n", b"9\n"]) == ["12345678", "9"]


def test_bytes_that_are_no_text_are_shown() -> None:
    assert split([b"a\xff\xfe\n"], limit=64) == ["a\\xff\\xfe"]


@given(pieces, st.data())
def test_how_bytes_are_divided_makes_no_difference(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    chunks = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert split(chunks) == split([whole])


@given(st.lists(st.binary() | st.text().map(str.encode)))
def test_without_returns_nothing_is_lost(chunks: list[bytes]) -> None:
    chunks = [chunk.replace(b"\r", b"-").replace(b"\x1b", b"-") for chunk in chunks]
    whole = b"".join(chunks)
    expected = whole.decode("utf-8", "backslashreplace")
    assert "\n".join(split(chunks, limit=1 << 20)) == expected.removesuffix("\n")


@given(pieces)
def test_no_visible_byte_is_lost(parts: list[bytes]) -> None:
    def visible(text: str) -> str:
        return re.sub(r"\x1b\[A|\s", "", text)

    whole = b"".join(parts)
    joined = "".join(split(parts, limit=1 << 20))
    assert visible(joined) == visible(whole.decode("utf-8", "backslashreplace"))
