"""Tables of text, as wide as they have to be."""

from __future__ import annotations

from collections.abc import Sequence

from skyward._display.text import clean

__all__ = ["table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> list[str]:
    """The lines of a table.

    Args:
        head: the columns' names.
        rows: a text for each column. Control characters are left out.
        right: the columns that stand on the right, such as numbers.
    """
    lines = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  ".join(_cells(line, widths, [name in right for name in head])).rstrip() for line in lines]


def _cells(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    return [
        cell.rjust(width) if to_the_right else cell.ljust(width)
        for cell, width, to_the_right in zip(line, widths, right, strict=True)
    ]
