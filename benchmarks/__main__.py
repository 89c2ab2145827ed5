"""Run the benchmarks: ``python -m benchmarks [NAME ...] [--quick] [--write]``, in the repository's folder."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import sys
import time
from pathlib import Path

from benchmarks._measure import Table

NAMES = (
    "latency", "throughput", "array", "closure", "imports", "first", "cycle", "ssh", "containers", "many", "joblib",
    "training",
)  # fmt: skip
README = Path(__file__).with_name("README.md")
MARKS = ("<!-- figures: written by `make bench ARGS=--write` -->", "<!-- end of the figures -->")


def machine() -> str:
    """What the figures were measured on."""
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    load = os.getloadavg()[0]
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {system}, "
        f"load {load:.1f} at the start, {time.strftime('%Y-%m-%d')}."
    )


def write(where: str, tables: list[Table]) -> None:
    """Put the tables into the README, in the place of the last ones."""
    text = README.read_text(encoding="utf-8")
    figures = "\n\n".join([MARKS[0], where, *(table.text() for table in tables), MARKS[1]])
    before, after = text.index(MARKS[0]), text.index(MARKS[1]) + len(MARKS[1])
    README.write_text(text[:before] + figures + text[after:], encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Skyward beside its peers.")
    options.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (default: all)")
    options.add_argument("--quick", action="store_true", help="fewer rounds, and without Ray and Dask")
    options.add_argument("--write", action="store_true", help=f"put the tables into {README.name}; needs all of them")
    chosen = options.parse_args(arguments)
    unknown = sorted(set(chosen.names) - set(NAMES))
    if unknown:
        options.error(f"there is no benchmark {', '.join(unknown)}: choose from {', '.join(NAMES)}")
    if chosen.write and (chosen.quick or chosen.names):
        options.error("--write keeps a whole run: leave out --quick and the names")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a program's second start is measured, not its very first
    where = machine()
    print(where, flush=True)
    tables: list[Table] = []
    for name in chosen.names or NAMES:
        print(f"\n... {name}", end="", file=sys.stderr, flush=True)
        measured = importlib.import_module(f"benchmarks.{name}").measure(quick=chosen.quick)
        print("\r", end="", file=sys.stderr)
        for table in [measured] if isinstance(measured, Table) else measured:
            print(re.sub("^### ", "", f"\n{table.text()}", flags=re.MULTILINE), flush=True)
            tables.append(table)
    if chosen.write:
        write(where, tables)


if __name__ == "__main__":
    main()
