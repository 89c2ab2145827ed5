"""What cannot be sent, said as joblib's users know it."""

from __future__ import annotations

import pickle
import re

from skyward import SerializationError

__all__ = ["NotSent", "not_returned", "not_sent"]


class NotSent(SerializationError, pickle.PicklingError):
    """A call of a ``Parallel`` cannot be pickled; ``path`` names the culprit. It is what joblib's loky raises, too."""


_POSITION, _NAME = r"\[1\]\[(?P<position>\d+)\]", r"\[2\]\['(?P<name>\w+)'\]"
_ARGUMENT = re.compile(rf"argument 'calls'\[\d+\](?:\[0\]|{_POSITION}|{_NAME})(?P<inside>.*)", re.DOTALL)
"""Where in a batch something is: in the function of a call, in an argument, or in one that has a name."""
_RESULT = re.compile(r"result\[2\]\[\d+\]")


def not_sent(error: SerializationError, name: str) -> NotSent:
    """The error that names the culprit from where the user stands, who made calls of ``name`` and no batch."""
    found = _ARGUMENT.match(error.path)
    path = error.path
    if found is not None:
        if found["position"] is not None:
            path = f"argument {int(found['position']) + 1}{found['inside']}"
        elif found["name"] is not None:
            path = f"argument '{found['name']}'{found['inside']}"
        else:
            path = f"function '{name}'{found['inside']}"
    message = error.message.replace(error.path, path, 1) if error.path else error.message
    return NotSent(f"could not pickle the task to send to the pool: {message}", path=path)


def not_returned(error: SerializationError) -> SerializationError:
    """The error that names the culprit in what one call returned, where a batch has a list of it."""
    path, found = _RESULT.subn("result", error.path, count=1)
    if not found:
        return error
    message = error.message.replace(error.path, path, 1)
    return SerializationError(message, path=path, node=error.node, slot=error.slot)
