"""Hello from other machines: one function on one node, on every node, and three calls in parallel.

python examples/hello.py
python examples/hello.py --provider aws --nodes 4
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence

from _provider import parser, pool, start

import skyward as sky


@sky.compute
def hello(name: str) -> str:
    """On a node: say who answers."""
    node = sky.instance_info().node
    return f"Hello, {name}, from node {node}: process {os.getpid()} on {platform.node()}"


@sky.compute
def count(word: str, to: int) -> int:
    """On a node: count aloud. The lines arrive here while the function runs there."""
    for number in range(1, to + 1):
        print(f"{word} {number}")
        time.sleep(0.25)
    return to


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it all."""
    options = parser("Hello from other machines.").parse_args(arguments)
    here = f"process {os.getpid()} on {platform.node()}"
    with pool(options) as nodes:
        print(f"This is {here}, and {nodes.instance_count} nodes are ready.")

        print("\nOne node, with hello('world') >> nodes:")
        print(" ", hello("world") >> nodes)

        print("\nEvery node, with hello('everybody') @ nodes:")
        for answer in hello("everybody") @ nodes:
            print(" ", answer)

        print("\nThree calls in parallel, with (count('apple', 3) & ...) >> nodes:")
        apples, pears, plums = (count("apple", 3) & count("pear", 2) & count("plum", 4)) >> nodes
        print(f"  {apples} apples, {pears} pears and {plums} plums")

    print("\nThe block has ended, and the nodes with it.")


if __name__ == "__main__":
    start(main)
