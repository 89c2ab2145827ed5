"""What ``make demo`` runs: hello.py, then survey.py, each as it can be run by itself.

python examples/demo.py
python examples/demo.py --provider container --nodes 4
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import hello
import survey
from _provider import parser, start


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both examples and say what was seen."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser("Run the examples, one after another.").parse_args(given)
    typed = " ".join(given)
    begun = time.perf_counter()

    print(f"$ python examples/hello.py {typed}".rstrip())
    hello.main(given)
    print()
    print(f"$ python examples/survey.py {typed}".rstrip())
    outcome = survey.main(given)

    seconds = time.perf_counter() - begun
    faster = outcome.seconds_alone / outcome.seconds
    print()
    print(f"That was Skyward on {options.nodes} nodes, twice, in {seconds:.0f} s.")
    print(f"  {outcome.survey.modules:,} modules parsed on the nodes, {faster:.1f} times as fast as in one process.")
    print("  Both pools are closed, and nothing of them is left.")
    print("Next: read examples/hello.py, change it, and run it again.")


if __name__ == "__main__":
    start(main)
