"""``skyward doctor``: check the installed providers, and say what to fix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import asdict

from skyward._cli._looking import add_common, look
from skyward._cli._output import Output, Parser

if TYPE_CHECKING:
    from skyward._examining import Examined

__all__ = ["run"]

_NAME = "skyward doctor"
_DESCRIPTION = """\
Check this installation and, for each installed provider, the credentials, the permissions and whether it can be
reached. Nothing is bought or changed.
"""
_EPILOG = """\
exit status:
  0    no problem was found; there may be warnings
  1    some were
  2    the command line is wrong
  130  interrupted by Ctrl-C (143 by SIGTERM)

docs/buying.md tells more.
"""
_VERSION = 1


def run(arguments: Sequence[str]) -> int:
    """Look and print; the exit status."""
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    add_common(parser)
    options = parser.read(arguments)
    from skyward import _examining
    from skyward._cli._providers import choose
    from skyward._concurrency import all_of

    choice = choose(options.provider, (), command=_NAME)
    found: list[Examined] = []
    output = Output()

    async def work() -> None:
        if not choice.named:
            found.append(_examining.installation())
            found.extend(_examining.unusable(note) for note in choice.notes)
        elif choice.notes:
            found.extend(_examining.unusable(note) for note in choice.notes)
        found.extend(await all_of(_examining.examine(provider) for provider in choice.providers))

    number = look(work)
    if options.json:
        output.say(json.dumps(_told(found, interrupted=bool(number)), indent=2))
    else:
        for examined in found:
            for line in _lines(examined):
                output.say(line)
        if number:
            output.warn(f"{_NAME}: interrupted")
        else:
            output.say(_summary(found))
    if number:
        return 128 + number
    return 1 if any(each.level == "problem" for examined in found for each in examined.findings) else 0


def _lines(examined: Examined) -> list[str]:
    from skyward._display.text import clean

    lines = [examined.name]
    for each in examined.findings:
        detail = f": {each.detail}" if each.detail else ""
        lines.append(clean(f"  {each.level:7}  {each.subject}{detail}"))
        if each.remedy:
            lines.append(clean(f"           -> {each.remedy}"))
    return lines


def _summary(found: Sequence[Examined]) -> str:
    levels = [each.level for examined in found for each in examined.findings]
    problems, warnings = levels.count("problem"), levels.count("warning")
    if not problems and not warnings:
        return "all is well"
    return f"{problems} problem(s), {warnings} warning(s)"


def _told(found: Sequence[Examined], *, interrupted: bool) -> dict[str, object]:
    """What is written as JSON; its shape is documented in docs/buying.md."""
    return {
        "version": _VERSION,
        "examined": [
            {"name": examined.name, "findings": [asdict(each) for each in examined.findings]} for examined in found
        ],
        "problems": sum(each.level == "problem" for examined in found for each in examined.findings),
        "interrupted": interrupted,
    }
