"""What ``import skyward`` costs, and what it does not load."""

from __future__ import annotations

import functools
import subprocess
import sys

from benchmarks._measure import Table, duration, interleaved, seconds

HEAVY = (
    "asyncio",
    "asyncssh",
    "attr",
    "boto3",
    "cloudpickle",
    "httpx",
    "numpy",
    "pluggy",
    "rich",
    "tenacity",
    "typing",
)
PROGRAMS = {
    "python -c pass": "pass",
    "import skyward": "import skyward",
    "and @sky.compute on a function": "import skyward as sky; sky.compute(lambda: 1)",
    "and the name sky.ComputePool": "import skyward as sky; sky.ComputePool",
    "import asyncio": "import asyncio",
    "import cloudpickle": "import cloudpickle",
    "import numpy": "import numpy",
}


def measure(*, quick: bool) -> Table:
    """The best of many fresh interpreters for each, in turn, less what the bare one takes."""
    programs = {name: [sys.executable, "-c", code] for name, code in PROGRAMS.items() if _runs(code)}
    runs = {
        name: functools.partial(seconds, functools.partial(subprocess.run, command, check=True))
        for name, command in programs.items()
    }
    for run in runs.values():
        run()  # so that everything is compiled
    best = {name: min(times) for name, times in interleaved(runs, 5 if quick else 25).items()}
    bare = next(iter(best.values()))
    rows = [(name, duration(taken), duration(max(0.0, taken - bare))) for name, taken in best.items()]
    columns = ("", "fresh interpreter", "over the bare one")
    return Table(
        "Importing", columns, rows, [*_loaded(), "The best of many runs, in turn, with all modules compiled already."]
    )


def _runs(code: str) -> bool:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def _loaded() -> list[str]:
    """Which heavy modules ``import skyward`` loads, and which not."""
    code = (
        f"import sys; b = set(sys.modules); import skyward; print(*[m for m in {HEAVY} if m in set(sys.modules) - b])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    absent = [name for name in HEAVY if name not in said]
    notes = [f"`import skyward` does not load {', '.join(absent)}."]
    return [f"`import skyward` LOADS {', '.join(said)}.", *notes] if said else notes
