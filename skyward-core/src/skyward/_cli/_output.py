"""What commands share: where they write, and how they read their options."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

from skyward.model.nearest import near_matches

__all__ = ["Output", "Parser", "UsageProblem"]


class UsageProblem(Exception):
    """A command line that cannot be carried out; the message says why."""


class Output:
    """Standard output for what was asked for, and standard error for what is in the way of it.

    Nobody has to read either: a reader that has gone, as in ``skyward reap | head``, stops nothing.
    """

    def say(self, text: str) -> None:
        """Write a line of what was asked for."""
        _write(sys.stdout, text)

    def warn(self, text: str) -> None:
        """Write a line of what is in the way."""
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:  # what is still in the buffer must not fail again at the interpreter's end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Parser(argparse.ArgumentParser):
    """Options of one command. What it does not know is refused with near matches; nothing is abbreviated."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options.

        Raises:
            UsageProblem: some of them cannot be.
            SystemExit: ``--help`` was asked for.
        """
        found, rest = self.parse_known_args(list(arguments))
        for odd in rest:
            name = odd.partition("=")[0]
            near = near_matches(name, [option for action in self._actions for option in action.option_strings])
            hint = ": did you mean " + " or ".join(map(repr, near)) + "?" if near else f"; see `{self.prog} --help`"
            what = "option" if odd.startswith("-") else "argument"
            raise UsageProblem(f"{self.prog}: there is no {what} {name!r}{hint}")
        return found

    def error(self, message: str) -> NoReturn:
        """Argparse has found a mistake.

        Raises:
            UsageProblem: always.
        """
        raise UsageProblem(f"{self.prog}: {message}; see `{self.prog} --help`")
