"""Functions, arguments and results on their way to a node and back.

A function is pickled once and named by a digest; arguments are pickled for each call. Both say which local modules
they refer to, so that those can travel along.
"""

from __future__ import annotations

import pickle
import re
import types
import warnings
from collections.abc import Buffer, Callable, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from skyward._captured import Watch, heavy
from skyward._modules import EMPTY, Bundle, collect, relevant
from skyward._returned import careful_loads
from skyward.errors import SerializationError, SkywardWarning
from skyward.worker import pickling
from skyward.worker.unpicklable import unpicklable_path

if TYPE_CHECKING:
    from skyward._sharing import Shared, Sharing
    from skyward.function import ComputeFunction

__all__ = ["EncodedFunction", "Payload", "decode", "encode_call", "encode_function"]

HEAVY = 1 << 20
"""Bytes from which a variable that a function carries along is worth a warning: 1 MiB."""

_MEMORY = "_skyward_encoded"  # in the function's own __dict__, so that what it captures is not kept alive longer


class Payload:
    """A pickle and what goes with it.

    ``data`` is the pickle, ``buffers`` the flat views that belong beside it, ``modules`` the names of the modules that
    it needs and that are local, or not to be found here (``collect`` tells), ``size`` the bytes of ``data`` and
    ``buffers`` together. The buffers of a call's arguments are views of the arguments' own memory; those that are
    ``shared`` are not among ``buffers``.
    """

    __slots__ = ("buffers", "data", "modules", "shared", "size")

    def __init__(
        self, data: bytes, buffers: list[memoryview], modules: frozenset[str], shared: Shared | None = None
    ) -> None:
        self.data = data
        self.buffers = buffers
        self.modules = modules
        self.shared = shared
        self.size = len(data) + sum(view.nbytes for view in buffers) if buffers else len(data)


class EncodedFunction:
    """A function ready to be sent.

    ``digest`` (16 bytes) changes with its code, with what it captures and with the sources of the local modules that it
    uses; ``bundle`` holds these. The same object is given again for as long as the digest is the same.
    """

    __slots__ = ("bundle", "digest", "name", "payload")

    def __init__(self, payload: Payload, name: str, bundle: Bundle) -> None:
        digest = blake2b(payload.data, digest_size=16)
        for view in payload.buffers:
            digest.update(view)
        digest.update(bundle.digest)
        self.digest = digest.digest()
        self.payload = payload
        self.name = name
        self.bundle = bundle


class _Memory(NamedTuple):
    """What the last encoding of a function gave. ``copies`` are the buffers as they were then.

    It is replaced as a whole: another thread may be encoding the same function.
    """

    encoded: EncodedFunction
    copies: list[bytearray]
    watch: Watch | None
    warned: bool


_NO_MODULES: frozenset[str] = frozenset()
_NO_ARGUMENTS = Payload(pickle.dumps(((), {}), pickling.PROTOCOL), [], _NO_MODULES)


def encode_call(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str,
    signature_of: Callable[..., object],
    sharing: Sharing | None = None,
) -> Payload:
    """Pickle the arguments of a call of ``name``; ``decode`` gives back ``(args, kwargs)``.

    ``signature_of`` is the function whose parameters name the arguments in an error, ``sharing`` takes the large
    buffers out. Raises ``SerializationError`` with the path of what cannot be pickled:
    ``argument 'config'['model'].lock``.
    """
    if not args and not kwargs:
        return _NO_ARGUMENTS
    if pickling.is_plain(args) and (not kwargs or pickling.is_plain(kwargs)):
        return Payload(pickle.dumps((args, kwargs), pickling.PROTOCOL), [], _NO_MODULES)
    seen: set[str] = set()
    try:
        values = pickling.with_buffers((*args, *kwargs.values()))
        call = (values[: len(args)], dict(zip(kwargs, values[len(args) :], strict=True)))
        data, buffers = pickling.dump_with(call, seen, None if sharing is None else sharing.pickler)
    except MemoryError:
        raise
    except Exception as error:
        raise _unpicklable_argument(args, kwargs, name, signature_of, error) from error
    if sharing is None:
        return Payload(data, buffers, relevant(seen))
    rest, shared = sharing.part(buffers)
    return Payload(data, rest, relevant(seen), shared)


def encode_function(function: ComputeFunction[..., Any]) -> EncodedFunction:
    """Pickle ``function``: by reference if nodes can import it, else its undecorated form by value.

    What is captured is looked at on every call, so that a changed global, cell, default, list or array is sent anew.
    Raises ``SerializationError`` naming the captured variable that cannot be pickled; warns once per function
    (``SkywardWarning``) about captured variables of more than 1 MiB.
    """
    memory: _Memory | None = function.__dict__.get(_MEMORY)
    if memory is not None and memory.watch is not None and memory.watch.holds():
        known = memory.encoded
        modules = known.payload.modules
        if not modules or (bundle := collect(modules)) is known.bundle:
            return known
        memory = memory._replace(encoded=EncodedFunction(known.payload, known.name, bundle))
    else:
        memory = _pickled(function, memory)
    function.__dict__[_MEMORY] = memory
    return memory.encoded


def _pickled(function: ComputeFunction[..., Any], before: _Memory | None) -> _Memory:
    """Pickle the function; what ``before`` holds stays the same object where it still is the same."""
    pickling.settle(getattr(function, "__module__", None))
    watch = Watch.of(function)  # before pickling: what changes in between is then noticed the next time
    by_name = isinstance(function.__reduce__(), str)
    seen: set[str] = set()
    try:
        data, buffers = pickling.dump_with(function if by_name else function.fn, seen)
    except MemoryError:
        raise
    except Exception as error:
        raise _unpicklable_capture(function, error) from error
    modules = relevant(seen)
    bundle = collect(modules) if modules else EMPTY
    if before is not None and _is_same(before, data, buffers, modules):
        encoded = before.encoded
        if encoded.bundle is not bundle:
            encoded = EncodedFunction(encoded.payload, encoded.name, bundle)
        return before._replace(encoded=encoded, watch=watch)
    copies = [bytearray(view) for view in buffers]  # the arrays may change before these are sent
    payload = Payload(data, [memoryview(copy) for copy in copies], modules)
    warned = before is not None and before.warned
    if payload.size >= HEAVY and not warned and not by_name:
        warned = True
        _warn(function)
    return _Memory(EncodedFunction(payload, function.name, bundle), copies, watch, warned)


def _is_same(before: _Memory, data: bytes, buffers: list[memoryview], modules: frozenset[str]) -> bool:
    payload = before.encoded.payload
    if data != payload.data or modules != payload.modules or len(buffers) != len(before.copies):
        return False
    # bytearray compares in one sweep of memory, where two memoryviews compare item by item
    return all(copy == view for copy, view in zip(before.copies, buffers, strict=True))


def decode(data: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
    """Unpickle what ``encode_call`` here or ``pickling.dumps`` on a node made.

    A class of this process that comes back by value is the class that was sent, unchanged.
    """
    if _CLASS_BY_VALUE.search(data) is not None:
        return careful_loads(data, buffers)
    return pickle.loads(data, buffers=buffers)


_CLASS_BY_VALUE = re.compile(rb"_class_setstate")


def _unpicklable_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, signature_of: Callable[..., object], error: Exception
) -> SerializationError:
    for label, value in _labelled(args, kwargs, signature_of):
        found = unpicklable_path(value, label)
        if found is not None:
            return SerializationError(f"{found[0]}: {found[1]} (in a call of {name})", path=found[0])
    return SerializationError(f"the arguments of {name} cannot be pickled: {error}", path="arguments")


def _labelled(
    args: tuple[Any, ...], kwargs: dict[str, Any], signature_of: Callable[..., object]
) -> Iterator[tuple[str, object]]:
    """Each argument with what to call it: by its parameter's name if the signature can be read."""
    import inspect

    try:
        parameters = list(inspect.signature(signature_of).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    for index, value in enumerate(args):
        if index < len(positional):
            yield f"argument '{positional[index].name}'", value
        elif rest is not None:
            yield f"argument '{rest}'[{index - len(positional)}]", value
        else:
            yield f"argument {index + 1}", value
    yield from ((f"argument '{key}'", value) for key, value in kwargs.items())


def _unpicklable_capture(function: ComputeFunction[..., Any], error: Exception) -> SerializationError:
    plain = isinstance(function.fn, types.FunctionType)
    found = unpicklable_path(function.fn, "" if plain else f"function '{function.name}'")
    if found is None:
        return SerializationError(f"function '{function.name}' cannot be pickled: {error}", path=function.name)
    path = found[0] or f"function '{function.name}'"
    return SerializationError(f"{path}: {found[1]}", path=path)


def _warn(function: ComputeFunction[..., Any]) -> None:
    large = heavy(function.fn, HEAVY)
    code = getattr(function.fn, "__code__", None)
    if not large or code is None:
        return
    what = ", ".join(f"'{capture.name}' ({capture.where}, {size / HEAVY:.1f} MiB)" for capture, size in large)
    message = (
        f"{function.name} takes {what} along to every node; "
        "pass it as an argument, or make or load it inside the function"
    )
    warnings.warn_explicit(message, SkywardWarning, code.co_filename, code.co_firstlineno)
