"""Large arguments that many calls share: named by their content, and sent to a node when it asks for them."""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import Buffer, Callable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from skyward.worker.pickling import PROTOCOL, Pickler
from skyward.worker.protocol import SHARES, Kind, encode, size_of
from skyward.worker.shared import CHUNK, DIGEST, Place, packed

if TYPE_CHECKING:
    from skyward._codec import Payload

__all__ = ["Shared", "Sharing"]

_ABOVE = 1 << 20
_REMEMBERED = 1024
"""How many of the contents below ``copied_below`` are known to have been seen: the latest."""
_STRONG = 4
"""Memory whose end nobody tells of (``bytes``) is kept alive for as long as its digest is remembered: of so many."""
_TIMES = "mM"
"""The kinds of dtypes of numpy that no buffer can have: time differences and dates."""

type _Key = tuple[int, int]
"""Where the memory is, and its bytes."""


class Shared:
    """What of a call is shared: ``views`` by digest, and the ``table`` that tells a node where each belongs."""

    __slots__ = ("sharing", "table", "views")

    def __init__(self, sharing: Sharing, places: list[Place], views: dict[bytes, memoryview]) -> None:
        self.sharing = sharing
        self.table = packed(places)
        self.views = views

    def encode(self, number: int, head: bytes, payload: Payload) -> list[Buffer]:
        """The frame of a task whose head is packed already."""
        buffers: list[Buffer] = [payload.data, *payload.buffers]
        if not self.views:
            return self.counted(encode(Kind.TASK, number, buffers=buffers, raw_head=head))
        buffers.append(self.table)
        return self.counted(encode(Kind.TASK, number, buffers=buffers, raw_head=head, flags=SHARES))

    def upload(self, digest: bytes) -> Iterator[list[Buffer]]:
        """The frames that bring a content to a node."""
        view = self.views[digest]
        size = view.nbytes
        for offset in range(0, size, CHUNK):
            chunk = view[offset : offset + CHUNK]
            yield self.counted(encode(Kind.SHARE, head=(digest, offset, size), buffers=[chunk]))

    def counted(self, parts: list[Buffer]) -> list[Buffer]:
        """What is sent for a call of this `Sharing`."""
        size = sum(map(size_of, parts))
        self.sharing.sent += size
        Sharing.total += size
        return parts


class _Known(NamedTuple):
    owner: Callable[[], object]
    digest: bytes


class Sharing:
    """Has the large arrays among the arguments of calls sent once to each node, however many calls have them.

    Set it as ``pending.sharing`` of the calls, before they are dispatched::

        sharing = Sharing()
        for fold in folds:
            pending = fit(model, data, fold)
            pending.sharing = sharing
            futures.append(pool.submit(pending))

    An array is known by a digest of its content, so equal ones are one, in later calls too and with other `Sharing`
    objects. The functions get arrays that they can read only. Each digest is remembered for as long as the array
    lives, so an array must not be changed while calls that have it may still be dispatched: a change that is noticed,
    because a node does not get what was announced, fails the call with a ``ValueError``.

    Args:
        above: bytes from which the memory of an argument is shared, wherever it is inside of the arguments: numpy
            arrays, and what is made of them, such as pandas objects and sparse matrices. 1 MiB by default; no less than
            4 KiB have an effect.
        copied_below: bytes up to which this goes by without anybody's notice: what is smaller arrives as a copy for
            each call, which may be written to, and may be changed here between two calls, since its digest is computed
            for each. It is shared from the second call on that has it. Default: nothing.

    Attributes:
        sent: bytes that were sent for the calls with this object: shared contents and the calls themselves.
        total: the same for all objects of this process.
    """

    total: ClassVar[int] = 0

    def __init__(self, above: int = _ABOVE, *, copied_below: int = 0) -> None:
        self.above = above
        self.copied_below = copied_below
        self.sent = 0
        self._seen: dict[bytes, None] = {}
        self._known: dict[_Key, _Known] = {}
        self._copies: dict[int, tuple[weakref.ref[Any], Any]] = {}
        self._strong: deque[_Key] = deque()
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Look at the content of every array anew from here on, since it may have changed."""
        with self._lock:
            self._known.clear()
            self._copies.clear()
            self._strong.clear()

    def part(self, buffers: list[memoryview]) -> tuple[list[memoryview], Shared | None]:
        """Part a call's buffers into those that travel with it and those that are shared."""
        if not any(view.nbytes >= self.above for view in buffers):
            return buffers, Shared(self, [], {})
        rest: list[memoryview] = []
        places: list[Place] = []
        views: dict[bytes, memoryview] = {}
        for position, view in enumerate(buffers):
            digest = self._shared(view)
            if digest is None:
                rest.append(view)
            else:
                places.append(Place(position, digest, view.nbytes, view.nbytes < self.copied_below))
                views[digest] = view
        return rest, Shared(self, places, views)

    def _shared(self, view: memoryview) -> bytes | None:
        """The digest of what is shared; ``None`` for what travels with its call."""
        if view.nbytes < self.above:
            return None
        if view.nbytes >= self.copied_below:
            return self._digest(view)
        digest = blake2b(view, digest_size=DIGEST).digest()
        with self._lock:
            if digest in self._seen:
                return digest
            self._seen[digest] = None
            if len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
        return None  # most are seen once, and sharing has a price

    def pickler(self, file: Any, keep: Any, seen: set[str] | None) -> _Pickler:
        """A pickler that has large arrays that are not in one piece travel as buffers too."""
        return _Pickler(file, keep, seen, self)

    def in_one_piece(self, value: object) -> Any:
        """An array of plain numpy with the content of ``value``, if that is an array that pickle would copy as a whole.

        Such are the memory-mapped ones, those of times, and parts of arrays whose rows are not next to each other, of
        which a copy is made, and kept for as long as ``value`` lives.
        """
        numpy = sys.modules.get("numpy")
        kind = type(value)
        if numpy is None or (kind is not numpy.ndarray and kind is not numpy.memmap):
            return None
        array: Any = value
        if array.nbytes < max(self.above, self.copied_below) or array.dtype.hasobject:
            return None
        if array.flags.forc:
            return None if kind is numpy.ndarray and array.dtype.kind not in _TIMES else array.view(numpy.ndarray)
        with self._lock:
            known = self._copies.get(id(value))
            if known is None or known[0]() is not value:
                copies, key = self._copies, id(value)
                known = (
                    weakref.ref(array, lambda _: copies.pop(key, None)),
                    numpy.array(array, order="C", subok=False),
                )
                copies[key] = known
            return known[1]

    def _digest(self, view: memoryview) -> bytes:
        owner, key = _memory_of(view)
        with self._lock:  # several threads that have the same array are as fast with one of them at work
            known = self._known.get(key)
            if known is not None and known.owner() is owner:
                return known.digest
            digest = blake2b(view, digest_size=DIGEST).digest()
            self._known[key] = _Known(self._hold(owner, key), digest)
            return digest

    def _hold(self, owner: object, key: _Key) -> Callable[[], object]:
        """What gives ``owner`` for as long as it lives."""
        known = self._known

        def ended(ref: weakref.ref[object]) -> None:  # at any moment, the lock being held or not
            entry = known.get(key)
            if entry is not None and entry.owner is ref:
                known.pop(key, None)

        try:
            return weakref.ref(owner, ended)
        except TypeError:
            self._strong.append(key)
            if len(self._strong) > _STRONG:
                known.pop(self._strong.popleft(), None)
            return lambda: owner


class _Pickler(Pickler):
    def __init__(self, file: Any, keep: Any, seen: set[str] | None, sharing: Sharing) -> None:
        super().__init__(file, keep, seen)
        self._sharing = sharing

    def reducer_override(self, obj: Any) -> Any:
        array = self._sharing.in_one_piece(obj)
        if array is None:
            return super().reducer_override(obj)
        self.last = obj
        if array.dtype.kind in _TIMES:
            return type(array).view, (array.view("i8"), array.dtype)
        return array.__reduce_ex__(PROTOCOL)


def _memory_of(view: memoryview) -> tuple[object, _Key]:
    """Who keeps the memory of a view alive, and what it is known by."""
    owner: Any = view.obj
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(owner, numpy.ndarray):
        return owner, (id(owner), view.nbytes)
    address = owner.__array_interface__["data"][0]
    while isinstance(owner, numpy.ndarray) and owner.base is not None:
        owner = owner.base  # the array itself may be made anew for each pickle, as a transposed one is
    return owner, (address, view.nbytes)
