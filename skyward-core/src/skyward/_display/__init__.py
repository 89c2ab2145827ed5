"""Displays: what a person sees of a pool. `make_display` is the way in; rich is loaded for the spinner only."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol, TextIO

from skyward.errors import ConfigurationError

if TYPE_CHECKING:
    from skyward.model.events import SkywardEvent

__all__ = ["DISPLAYS", "Display", "make_display"]

DISPLAYS = ("log", "spinner", "quiet")


class Display(Protocol):
    """Shows events between `start` and `stop`. Stopping twice, or without a start, does nothing."""

    @property
    def types(self) -> tuple[type[SkywardEvent], ...]:
        """The event classes to subscribe `callback` to."""
        ...

    def start(self) -> None:
        """Begin."""
        ...

    def callback(self, event: SkywardEvent) -> None:
        """Show one event."""
        ...

    def stop(self) -> None:
        """End, and leave the terminal as it was."""
        ...


class _Quiet:
    types: tuple[type[SkywardEvent], ...] = ()

    def start(self) -> None:
        """Nothing to begin."""

    def callback(self, event: SkywardEvent) -> None:
        """Nothing to show."""

    def stop(self) -> None:
        """Nothing to end."""


def make_display(kind: str, *, stream: TextIO | None = None, interactive: bool | None = None) -> Display:
    """Make a display: ``log``, ``spinner`` or ``quiet``.

    ``stream`` is where it writes, stderr by default. ``interactive`` says whether lines can be redrawn there; by
    default they can on a terminal that is not dumb, outside a notebook. Raises ConfigurationError for another kind.
    """
    match kind:
        case "quiet":
            return _Quiet()
        case "log":
            from skyward._display.log import LogDisplay

            return LogDisplay(stream)
        case "spinner":
            if _redraws(stream) if interactive is None else interactive:
                from skyward._display.spinner import SpinnerDisplay

                return SpinnerDisplay(stream)
            from skyward._display.plain import PlainDisplay

            return PlainDisplay(stream)
        case _:
            near = get_close_matches(str(kind), DISPLAYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "choose 'log', 'spinner' or 'quiet'"
            raise ConfigurationError(f"there is no display {kind!r}: {hint}")


def _redraws(stream: TextIO | None) -> bool:
    target = sys.stderr if stream is None else stream
    try:
        terminal = target is not None and target.isatty()
    except (AttributeError, ValueError):
        return False
    return terminal and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"} and not _in_notebook()


def _in_notebook() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    return shell is not None and any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)
