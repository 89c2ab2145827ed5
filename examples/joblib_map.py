"""A program of joblib's, as it stands, on the nodes of a pool: a picture whose rows arrive while others are computed.

python examples/joblib_map.py
python examples/joblib_map.py --provider aws --nodes 4
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from typing import NamedTuple

from _provider import parser, pool, start

import skyward as sky

WIDTH, HEIGHT = 78, 24
SHADES = " .:-=+*#%@"


class Row(NamedTuple):
    """A row of the picture, as text; who computed it, and in how many seconds."""

    text: str
    by: str
    seconds: float


def row(number: int, depth: int) -> Row:
    """One row of the Mandelbrot set. Rows through its middle take far longer than those at its edges."""
    begun = time.perf_counter()
    text = ""
    for column in range(WIDTH):
        point = complex(-2.1 + 2.9 * column / (WIDTH - 1), -1.2 + 2.4 * number / (HEIGHT - 1))
        place, steps = 0j, 0
        while steps < depth and abs(place) <= 2:
            place, steps = place * place + point, steps + 1
        text += SHADES[-1] if steps == depth else SHADES[min(steps, 3 * len(SHADES) - 4) // 3]
    return Row(text, f"{os.getpid()} on {platform.node()}", time.perf_counter() - begun)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Draw the picture on the nodes."""
    options = parser("Draw a picture with joblib, on the nodes.")
    options.add_argument("--depth", type=int, default=5_000, help="steps after which a point counts as inside")
    chosen = options.parse_args(arguments)
    from joblib import Parallel, delayed

    rows = []
    with pool(chosen, sky.integrations.JoblibPool):
        begun = time.perf_counter()
        parallel = Parallel(n_jobs=-1, return_as="generator")  # nothing here knows of nodes
        for drawn in parallel(delayed(row)(number, chosen.depth) for number in range(HEIGHT)):
            print(drawn.text)
            rows.append(drawn)
        seconds = time.perf_counter() - begun

    added = sum(drawn.seconds for drawn in rows)
    print(f"{HEIGHT} rows by {len({drawn.by for drawn in rows})} processes in {seconds:.1f} s, each as it was ready.")
    print(f"Added up, the rows took {added:.1f} s.")
    return rows


if __name__ == "__main__":
    start(main)
