"""Functions, arguments and results on their way to a node and back.

A function is pickled once and named by a digest; arguments are pickled for each call. Both say which local modules
they refer to, so that those can travel along.
"""

from __future__ import annotations

import pickle
from collections.abc import Buffer, Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from skyward.worker import pickling

if TYPE_CHECKING:
    from skyward.function import ComputeFunction

__all__ = ["EncodedFunction", "Payload", "decode", "encode_call", "encode_function"]


class Payload:
    """A pickle and what goes with it.

    ``data`` is the pickle, ``buffers`` the flat views that belong beside it, ``modules`` the names of the local modules
    that it needs, ``size`` the bytes of ``data`` and ``buffers`` together.
    """

    __slots__ = ("buffers", "data", "modules", "size")

    def __init__(self, data: bytes, buffers: list[memoryview], modules: frozenset[str]) -> None:
        self.data = data
        self.buffers = buffers
        self.modules = modules
        self.size = len(data) + sum(view.nbytes for view in buffers)


class EncodedFunction:
    """A function ready to be sent: ``digest`` (16 bytes) changes with its code, what it captures and its modules."""

    __slots__ = ("digest", "name", "payload")

    def __init__(self, digest: bytes, payload: Payload, name: str) -> None:
        self.digest = digest
        self.payload = payload
        self.name = name


_NO_MODULES: frozenset[str] = frozenset()
_NO_ARGUMENTS = Payload(pickle.dumps(((), {}), pickling.PROTOCOL), [], _NO_MODULES)


def encode_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, signature_of: Callable[..., object]
) -> Payload:
    """Pickle the arguments of one call; ``decode`` gives back ``(args, kwargs)``."""
    if not args and not kwargs:
        return _NO_ARGUMENTS
    if pickling.is_plain(args) and (not kwargs or pickling.is_plain(kwargs)):
        return Payload(pickle.dumps((args, kwargs), pickling.PROTOCOL), [], _NO_MODULES)
    seen: set[str] = set()
    data, buffers = pickling.dump_with((pickling.with_buffers(args), kwargs), seen)
    return Payload(data, buffers, _NO_MODULES)


def decode(data: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
    """Unpickle what ``encode_call`` here or ``pickling.dumps`` on a node made."""
    return pickling.loads(data, buffers)


def encode_function(function: ComputeFunction[..., Any]) -> EncodedFunction:
    """Pickle ``function``, by reference where nodes can import it, else by value."""
    seen: set[str] = set()
    data, buffers = pickling.dump_with(function.fn, seen)
    payload = Payload(data, buffers, _NO_MODULES)
    digest = blake2b(data, digest_size=16)
    for view in buffers:
        digest.update(view)
    return EncodedFunction(digest.digest(), payload, function.name)
