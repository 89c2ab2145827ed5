"""What is kept of the last words of a slot."""

from __future__ import annotations

from skyward._words import LastWords


def test_the_last_lines_of_a_task_are_kept_without_blank_ones_and_the_list_of_compiled_modules() -> None:
    words = LastWords()
    for line in ("of another task", *map(str, range(40))):
        words.keep(1, line)
    for line in ("x" * 1000, "", "  indented  ", "Extension modules: numpy._core, torch._C (total: 2)"):
        words.keep(2, line)
    assert words.of(2) == ["x" * 300, "  indented"]
    assert words.of(1) == [str(number) for number in range(12, 40)]
    assert words.of(3) == []
