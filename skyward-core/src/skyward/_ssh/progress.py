"""What the bootstrap script says while it runs: phases for the events, and the last lines for an error."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

from skyward.errors import BootstrapError
from skyward.model.bootstrap import parse_progress
from skyward.model.image import Image
from skyward.model.redact import redact
from skyward.spi.transport import PhaseReport

__all__ = ["Said"]

_log = logging.getLogger("skyward.ssh")
_SHOWN_LINES = 30


class Said:
    """Takes the script's output line by line. Secrets of the image, and others, are hidden in whatever is kept."""

    def __init__(self, image: Image, report: PhaseReport, secrets: Iterable[str] = ()) -> None:
        self._secrets = (*image.secrets, *secrets)
        self._report = report
        self._lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        self.phase = "connect"
        self._command = ""

    def line(self, text: str) -> None:
        """The next line of output."""
        progress = parse_progress(text)
        if progress is None:
            shown = redact(text, self._secrets)
            self._lines.append(shown)
            _log.debug("%s: %s", self.phase, shown)
            return
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
        what = f"`{self._command}` failed" if self._command else f"it ended with status {status}"
        return BootstrapError(
            f"{machine} could not be made ready: in the phase {self.phase}, {what}. Correct what its last lines "
            f"complain of, and enter the pool again.\n{output}",
            phase=self.phase,
            command=self._command,
            output=output,
        )
