"""``skyward reap``: list and remove machines that clients which are gone left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skyward._cli._interrupts import Interrupts
from skyward._cli._output import Output, Parser
from skyward._threads import Threads

if TYPE_CHECKING:
    from skyward._cli._findings import Findings
    from skyward._cli._providers import Choice

__all__ = ["run"]

_DESCRIPTION = """\
List and remove machines that clients which are gone left behind: those past their deadline, and those whose program has
died. Machines of programs that run are never touched, and nothing is asked.
"""
_EPILOG = """\
exit status:
  0    nothing is left over
  1    something is left over, or nobody knows: it could not be removed or looked for, or --dry-run has found it
  2    the command line is wrong; nothing was done
  130  interrupted by Ctrl-C (143 by SIGTERM)

The first Ctrl-C waits for what is being removed, the second does not. docs/reap.md tells more.
"""


def run(arguments: Sequence[str]) -> int:
    """Look, remove, report; the exit status."""
    parser = Parser("skyward reap", _DESCRIPTION, _EPILOG)
    parser.add_argument("--dry-run", action="store_true", help="remove nothing")
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    parser.add_argument(
        "--provider", action="append", default=[], metavar="NAME", help="ask this one alone; may be repeated"
    )
    options = parser.read(arguments)
    from skyward._accounts import read_all
    from skyward._cli._providers import choose

    choice = choose(options.provider, read_all())
    return asyncio.run(_Reaping(choice, dry_run=options.dry_run, as_json=options.json).run())


class _Reaping:
    """One run of the command."""

    def __init__(self, choice: Choice, *, dry_run: bool, as_json: bool) -> None:
        self._choice = choice
        self._dry_run = dry_run
        self._json = as_json
        self._output = Output()
        self._interrupts = Interrupts()

    async def run(self) -> int:
        """Do it; the exit status."""
        from skyward._cli._findings import Findings

        asyncio.get_running_loop().set_default_executor(Threads())
        findings = Findings(self._choice, dry_run=self._dry_run)
        with self._interrupts.heard():
            try:
                await self._work(findings)
            except asyncio.CancelledError:
                findings.cut_off = True
        number = self._interrupts.last
        self._report(findings, interrupted=bool(number))
        if number:
            return 128 + number
        return 1 if findings.left or findings.problems else 0

    async def _work(self, findings: Findings) -> None:
        from skyward import _reap

        findings.found = await _reap.find(self._choice.providers)
        if not self._json:
            for line in findings.lines():
                self._output.say(line)
        if self._dry_run:
            return

        def gone(provider: str, machine: str) -> None:
            if (provider, machine) in findings.gone:
                return
            findings.gone.append((provider, machine))
            if not self._json:
                self._output.say(f"removed {provider} {machine}")

        with self._interrupts.put_off(lambda: self._output.warn(f"skyward reap: {findings.waiting()}")):
            findings.removed = await _reap.remove(findings.found, gone)

    def _report(self, findings: Findings, *, interrupted: bool) -> None:
        for problem in findings.problems:
            self._output.warn(f"skyward reap: {problem}")
        if self._json:
            self._output.say(json.dumps({**findings.told(), "interrupted": interrupted}, indent=2))
            return
        for note in findings.notes:
            self._output.say(f"not asked: {note}")
        self._output.say(findings.summary())
