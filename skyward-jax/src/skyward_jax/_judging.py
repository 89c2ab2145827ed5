"""Which errors follow from another process's failure. Read on the client, which need not have jax."""

from __future__ import annotations

import re
import signal

from skyward.spi import any_cause

__all__ = ["Parted", "is_consequence"]

_CLASSES = {"JaxRuntimeError", "XlaRuntimeError"}
"""What jax's operations fail with; its own class has had both names."""
_PEER = re.compile(
    r"gloo|connection (?:closed|reset) by peer|coordination ?service|heartbeat|remote process|communicator was aborted"
    r"|NCCL operation .* failed: (?:unhandled system error|remote)",
    re.IGNORECASE,
)

_GLOO = re.compile(r"\bGloo .* failed: .*gloo[/\\]transport", re.DOTALL)
"""gloo's errors arrive as ValueErrors, too, and name the file of gloo that has found them."""


class Parted(ConnectionError):
    """Another process of the group ended before this one had met it, or was through."""


def is_consequence(error: BaseException) -> bool:
    """Whether a process failed because another one was gone.

    XLA ends a process by ``abort()`` when the first one of its group, which coordinates the others, is gone. That looks
    like a death of its own, and where it really is one, nothing else will have failed before it.
    """
    return any_cause(error, _follows)


def _follows(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, Parted) or ("SlotDied" in names and getattr(error, "signal", None) == signal.SIGABRT):
        return True
    if names & _CLASSES and _PEER.search(str(error)):
        return True
    return "ValueError" in names and _GLOO.search(str(error)) is not None
