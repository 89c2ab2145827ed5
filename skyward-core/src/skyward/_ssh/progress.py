"""What the bootstrap script says while it runs: phases for the events, and the last lines for an error."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Iterable

from skyward._uv import unreached
from skyward.errors import BootstrapError
from skyward.model.bootstrap import Progress, parse_clock, parse_progress
from skyward.model.image import Image
from skyward.model.redact import redact
from skyward.spi.transport import PhaseReport

__all__ = ["Said"]

_log = logging.getLogger("skyward.ssh")
_SHOWN_LINES = 30

# What TLS and apt complain of where the clock is wrong. A certificate may be bad for other reasons.
_DATED = re.compile(r"certificate|not valid yet|not yet valid|expired", re.IGNORECASE)
_CLOCK_TOLERANCE = 600.0


class Said:
    """Takes the script's output line by line. Secrets of the image, and others, are hidden in whatever is kept."""

    def __init__(self, image: Image, report: PhaseReport, secrets: Iterable[str] = ()) -> None:
        self._image = image
        self._secrets = (*image.secrets, *secrets)
        self._report = report
        self._lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        self.phase = "connect"
        self._command = ""
        self._ahead = 0.0  # seconds of the machine's clock

    def hide(self, secrets: Iterable[str]) -> None:
        """Hide these as well, from now on."""
        self._secrets = (*self._secrets, *secrets)

    def line(self, text: str) -> None:
        """The next line of output."""
        progress = parse_progress(text)
        clock = parse_clock(text)
        if clock is not None:
            self._ahead = clock - time.time()
        elif progress is None:
            shown = redact(text, self._secrets)
            self._lines.append(shown)
            _log.debug("%s: %s", self.phase, shown)
        else:
            self._step(progress)

    def _step(self, progress: Progress) -> None:
        self.phase = progress.step
        match progress.state:
            case "started":
                self._lines.clear()
                self._report(progress.step, "started", None)
            case "completed":
                self._report(progress.step, "completed", progress.seconds)
            case "kept":
                self._report(progress.step, "started", None)
                self._report(progress.step, "completed", 0.0)
            case "failed":
                self._command = redact(progress.command, self._secrets)

    def failure(self, machine: str, status: int) -> BootstrapError:
        """The script has ended with this status."""
        output = "\n".join(self._lines)
        clock = ""
        if abs(self._ahead) > _CLOCK_TOLERANCE and _DATED.search(output):
            way = "ahead of" if self._ahead > 0 else "behind"
            clock = (
                f"Its clock is {abs(self._ahead) / 3600:,.1f} hours {way} this one, so certificates look invalid to "
                "it: set that first. "
            )
        what = f"`{self._command}` failed" if self._command else f"it ended with status {status}"
        # The client's own settings of indexes go along to machines.
        silent = unreached(output, self._image.install_variables(os.environ))
        remedy = silent or "Correct what its last lines complain of, and enter the pool again."
        return BootstrapError(
            f"{machine} could not be made ready: in the phase {self.phase}, {what}. {clock}{remedy}\n{output}",
            phase=self.phase,
            command=self._command,
            output=output,
        )
