"""Which errors follow from another worker's failure. Read on the client, which need not have TensorFlow."""

from __future__ import annotations

from skyward.spi import any_cause

__all__ = ["is_consequence"]

_CLASSES = {"AbortedError", "CancelledError", "DeadlineExceededError", "UnavailableError"}
"""What a collective operation fails with whose peer is gone, or that somebody else has given up."""
_MARKS = ("Collective ops is aborted", "CoordinationServiceError")
"""What other errors say that are passed on from one worker to the next."""


def is_consequence(error: BaseException) -> bool:
    """Whether a worker failed because another one did not answer, or told it that the group is broken.

    That has a cause elsewhere, as a rule: the worker that is gone. Where none is found, this error is the one that the
    call raises.
    """
    return any_cause(error, _follows)


def _follows(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__ if cls.__module__.startswith("tensorflow.")}
    return bool(names & _CLASSES) or (bool(names) and any(mark in str(error) for mark in _MARKS))
