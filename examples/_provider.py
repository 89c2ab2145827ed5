"""What the examples have in common: the options that say where they run, and what a failure looks like."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence

import skyward as sky

PROVIDERS = {
    "local": "Local",  # worker processes on this machine
    "container": "Container",
    "aws": "AWS",
    "runpod": "RunPod",
    "vastai": "VastAI",
    "verda": "Verda",
    "digitalocean": "DigitalOcean",
}


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every example takes."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--provider", choices=PROVIDERS, default="local", help="where the nodes come from")
    options.add_argument("--nodes", type=int, default=2, help="number of nodes")
    options.add_argument(
        "--accelerator", metavar="NAME", help="GPUs of each node, such as T4 or A100:8; none if left out"
    )
    options.add_argument(
        "--display", choices=["spinner", "log", "quiet"], default="spinner", help="what the pool shows"
    )
    return options


def pool(arguments: argparse.Namespace, kind: type[sky.ComputePool] = sky.ComputePool) -> sky.ComputePool:
    """The pool that the options ask for: ``--provider aws`` means ``sky.ComputePool(provider=sky.AWS(), ...)``."""
    provider = getattr(sky, PROVIDERS[arguments.provider])
    return kind(
        provider=provider(), accelerator=arguments.accelerator, nodes=arguments.nodes, display=arguments.display
    )


def start(main: Callable[[Sequence[str] | None], object], arguments: Sequence[str] | None = None) -> None:
    """Run an example. What Skyward itself refuses or cannot do is said in one line, without a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in a file, too, lines stand in the order in which they came
    try:
        main(arguments)
    except sky.SkywardError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
