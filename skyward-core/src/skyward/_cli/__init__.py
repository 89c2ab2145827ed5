"""The command ``skyward``: finds the module of a subcommand and runs it. Nothing else is imported before that.

A subcommand is a module of this package with ``run(arguments) -> int``, which gives the exit status, and a line in
`COMMANDS`. Its options are those of a `Parser`. It writes by `Output`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "offers": "compare what the installed providers sell, and at what price",
    "doctor": "check the credentials, permissions and reachability of the installed providers",
    "ps": "list the machines that run anywhere",
    "reap": "list and remove machines that clients which are gone left behind",
}
"""What there is, with what each does."""

type _Run = Callable[[Sequence[str]], int]

_USAGE = 2
_INTERRUPTED = 130
"""The exit status of what Ctrl-C has ended, as shells have it: 128 and the signal's number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of this process; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    from skyward._cli._output import Output, UsageProblem

    output = Output()
    try:
        if not given or given[0] in ("-h", "--help", "help"):
            output.say(_help())
        elif given[0] in ("-V", "--version"):
            output.say(f"skyward {_version()}")
        else:
            return _command(given[0])(given[1:])
    except UsageProblem as problem:
        output.warn(str(problem))
        return _USAGE
    except KeyboardInterrupt:
        output.warn("skyward: interrupted")
        return _INTERRUPTED
    return 0


def _command(name: str) -> _Run:
    if name in COMMANDS:
        run: _Run = import_module(f"skyward._cli.{name}").run
        return run
    from skyward._cli._output import UsageProblem
    from skyward.model.nearest import did_you_mean

    what, known = ("option", ["--help", "--version"]) if name.startswith("-") else ("command", list(COMMANDS))
    raise UsageProblem(f"skyward: there is no {what} {name!r}{did_you_mean(name, known)}")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: skyward COMMAND ...",
            "",
            "Looks after the machines of skyward's pools from outside of programs.",
            "",
            "commands:",
            *lines,
            "",
            "`skyward COMMAND --help` tells more of one; `skyward --version` tells the version.",
        ]
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("skyward-core")
    except PackageNotFoundError:  # run from its source
        return "(not installed)"
