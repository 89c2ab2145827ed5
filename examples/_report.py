"""The tables of survey.py. Imported on the client alone: nodes need no rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from anatomy import Function, Survey
    from survey import Outcome

HARD = 10
"""Complexity from which McCabe suggested to part a function."""
UNREADABLE_SHOWN = 5


def report(outcome: Outcome) -> None:
    """Print what the survey found, and how long it took."""
    console = Console(highlight=False)
    found = outcome.survey
    tables = [_figures(found, outcome.subject)]
    if found.functions:
        tables.append(_functions("Longest functions", "lines", [(f.lines, f) for f in found.longest]))
        tables.append(_functions("Most complex functions", "complexity", [(f.complexity, f) for f in found.hardest]))
    if found.duplicated:
        tables.append(_duplicates(found.duplicated))
    for table in [*tables, _times(outcome)]:
        console.print()
        console.print(table)


def _table(title: str) -> Table:
    form = box.SIMPLE_HEAD
    return Table(title=title, title_justify="left", title_style="bold", box=form, show_edge=False, pad_edge=False)


def _places(title: str, unit: str) -> Table:
    """A table of a number, a function, and where that is."""
    table = _table(title)
    table.add_column(unit, justify="right", min_width=len("complexity"), no_wrap=True)
    table.add_column("function", overflow="ellipsis")
    table.add_column("where", no_wrap=True, style="dim")
    return table


def _figures(found: Survey, subject: str) -> Table:
    table = _table(subject)
    table.show_header = False
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold", style="dim")
    table.add_row("modules", f"{found.modules:,}")
    unreadable = sorted(found.unreadable)
    if unreadable:
        more = len(unreadable) - UNREADABLE_SHOWN
        named = ", ".join(unreadable[:UNREADABLE_SHOWN]) + (f" and {more} more" if more > 0 else "")
        table.add_row("of them not to be parsed", f"{len(unreadable):,}", named)
    table.add_row("lines", f"{found.lines:,}")
    table.add_row("classes", f"{found.classes:,}")
    table.add_row("functions and methods", f"{found.functions:,}")
    if found.functions:
        mean = sum(ways * number for ways, number in found.complexity.items()) / found.functions
        hard = sum(number for ways, number in found.complexity.items() if ways > HARD)
        table.add_row("mean cyclomatic complexity", f"{mean:.1f}")
        table.add_row(f"functions above {HARD}", f"{hard:,}", f"{hard / found.functions:.1%} of all")
    copies = sum(len(group) - 1 for group in found.duplicated)
    table.add_row("functions that repeat another's body", f"{copies:,}")
    return table


def _functions(title: str, unit: str, ranked: list[tuple[int, Function]]) -> Table:
    table = _places(title, unit)
    for number, function in ranked:
        table.add_row(f"{number:,}", function.name, function.where)
    return table


def _duplicates(groups: list[list[Function]], shown: int = 5) -> Table:
    table = _places("Longest bodies that stand in several places", "lines")
    for group in groups[:shown]:
        for place, function in enumerate(group):
            table.add_row("" if place else f"{function.lines:,}", function.name, function.where)
    return table


def _times(outcome: Outcome) -> Table:
    table = _table("Time")
    table.add_column("where")
    table.add_column("seconds", justify="right")
    table.add_column("speed-up", justify="right")
    table.add_row("one process", f"{outcome.seconds_alone:.2f}", "1.0 x")
    faster = outcome.seconds_alone / outcome.seconds
    table.add_row(
        f"{outcome.nodes} node{'s' * (outcome.nodes != 1)}", f"{outcome.seconds:.2f}", f"{faster:.1f} x", style="bold"
    )
    return table
