"""Which errors follow from another rank's failure. Read on the client, which need not have torch."""

from __future__ import annotations

import re
import signal

from skyward.spi import any_cause

__all__ = ["is_consequence"]

_CLASSES = {"DistBackendError", "DistNetworkError", "DistStoreError"}
"""Of torch.distributed: what communication fails with, as DistError itself is not."""
_GLOO = re.compile(r"gloo[/\\]transport|\[gloo\]|Gloo .*failed|Connection closed by peer", re.IGNORECASE)
"""gloo's errors are plain RuntimeErrors, which begin with the file and line of gloo that has found them."""
_HEAD = re.compile(r"rank \d+ \(node \d+\) cannot reach rank 0 ")
"""What `Group.reached` says; a first rank that has failed closes its port."""


def is_consequence(error: BaseException) -> bool:
    """Whether a rank failed because it could not reach another one, or another one did not answer.

    That has a cause elsewhere, as a rule: the rank that is gone. Where none is found, this error is the one that the
    call raises.

    So it is with a process that was ended by ``abort()``: torch does that to the others when a rank of a group on nccl
    has failed.
    """
    return any_cause(error, _follows)


def _follows(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    if "SlotDied" in names:
        return getattr(error, "signal", None) == signal.SIGABRT
    if isinstance(error, ConnectionError):
        return _HEAD.match(str(error)) is not None
    return bool(names & _CLASSES) or (isinstance(error, RuntimeError) and _GLOO.search(str(error)) is not None)
