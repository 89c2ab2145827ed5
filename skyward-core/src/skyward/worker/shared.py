"""Large arguments that many tasks share: on each node one file for each content, mapped into the slots that need it.

A slot that lacks a content asks the client for it, which sends it to one slot of the node. The others find the file.
What is used no more is removed when room is needed, by whoever needs it: a slot that misses it later asks again, and
one that has it mapped keeps it for as long as that.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
from collections.abc import Buffer, Collection, Iterable, Sequence
from typing import NamedTuple

from skyward.worker.protocol import FrameError, allocate

__all__ = ["CHUNK", "DIGEST", "LIMIT", "Held", "Place", "Shelf", "Spoilt", "packed", "to_forget"]

CHUNK = 1 << 20
"""Bytes in which a content is sent: as few as keep what is received in the processor's cache until it is written."""
DIGEST = 32
"""Bytes of a content's name, a blake2b digest of it."""
LIMIT = 16 << 30
"""Bytes that a node keeps, if that is not more than half of what its file system has room for."""

_CHANGED = (
    "was changed between its call and its arrival: leave the arrays of calls alone until these have ended, "
    "or pass copies"
)


class Place(NamedTuple):
    """A shared content of a call: which of the call's buffers it is, its digest, and its size in bytes.

    With ``copied`` the call gets a copy of its own, which it may write to.
    """

    position: int
    digest: bytes
    size: int
    copied: bool = False


class Held(NamedTuple):
    """A file that is there: its name, its size in bytes, and when it was used last (nanoseconds)."""

    name: str
    size: int
    used: int


class Spoilt(ValueError):
    """A shared argument does not have the content that it was announced with, or there is no room for it."""


def packed(places: Iterable[Place]) -> bytes:
    """Places as they travel, in the last buffer of a task."""
    return pickle.dumps([tuple(place) for place in places], 5)


def to_forget(held: Sequence[Held], coming: int, limit: int, *, needed: Collection[str] = ()) -> list[str]:
    """Which files make room, so that with ``coming`` bytes more there are no more than ``limit``.

    What was used longest ago goes first; what is needed stays.
    """
    excess = sum(file.size for file in held) + coming - limit
    names: list[str] = []
    for file in sorted(held, key=lambda file: file.used):
        if excess <= 0:
            break
        if file.name not in needed:
            names.append(file.name)
            excess -= file.size
    return names


class Shelf:
    """The shared contents of a node, as one of its slots sees them.

    Args:
        directory: the node's private folder; the files are in one of its own below it.
        name: the slot's, for the file that a content is received into.
        limit: bytes that the node keeps.
    """

    def __init__(self, directory: str, name: str, limit: int = LIMIT) -> None:
        self._folder = os.path.join(directory, "shared")
        self._part = os.path.join(self._folder, f"{name}.part")
        self._limit = limit
        self._maps: dict[bytes, Buffer] = {}  # what the latest task needs, as far as it is here
        self._incoming: _Incoming | None = None
        self._spoilt: dict[bytes, str] = {}  # why what came is of no use

    def missing(self, table: Buffer) -> list[bytes]:
        """Have what a task needs at hand; returns the digests of what this node lacks."""
        maps: dict[bytes, Buffer] = {}
        missing: list[bytes] = []
        for place in _places(table):
            found = self._find(place)
            if found is not None:
                maps[place.digest] = found
            elif place.digest not in self._spoilt and place.digest not in missing:
                missing.append(place.digest)
        self._maps = maps
        return missing

    def _find(self, place: Place) -> Buffer | None:
        path = self._path(place.digest)
        known = self._maps.get(place.digest)
        if known is None:
            with contextlib.suppress(OSError, ValueError):  # the latter where it is too short
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    known = mmap.mmap(descriptor, place.size, access=mmap.ACCESS_READ)
                finally:
                    os.close(descriptor)
        if known is not None:
            with contextlib.suppress(OSError):  # it has made room meanwhile, or never was in a file
                os.utime(path)
        return known

    def merged(self, buffers: list[Buffer]) -> list[Buffer]:
        """The buffers of a call: those of a task's frame with what is shared in its places.

        Raises:
            Spoilt: something came with another content than it was announced with, or could not be kept.
        """
        every = buffers[1:-1]
        for place in _places(buffers[-1]):
            if place.digest in self._spoilt:  # another task may bring it as it should be
                raise Spoilt(f"an argument of {place.size} bytes {self._spoilt.pop(place.digest)}")
            mapped = self._maps[place.digest]
            every.insert(place.position, bytearray(mapped) if place.copied else mapped)
        return every

    def take(self, digest: bytes, offset: int, size: int, chunk: Buffer) -> bool | None:
        """Take in the next bytes of a content. True with the last ones, false if it is not what it should be."""
        try:
            if not offset:
                self._begin(digest, size)
            incoming = self._incoming
            if incoming is None or incoming.digest != digest or incoming.filled != offset:
                return None  # the rest of what was begun on an earlier connection, or of what cannot be kept
            incoming.add(chunk)
            if incoming.filled < size:
                return None
            self._incoming = None
            mapped = incoming.end(self._path(digest))
        except (OSError, FrameError, MemoryError) as error:
            self._incoming = None
            self._spoilt[digest] = f"cannot be kept on its node: {error}; take machines with more memory or disk"
            return False
        if mapped is None:
            self._spoilt[digest] = _CHANGED
            return False
        self._maps[digest] = mapped
        self._spoilt.pop(digest, None)
        return True

    def _begin(self, digest: bytes, size: int) -> None:
        if self._incoming is not None:
            self._incoming.drop()
        with contextlib.suppress(OSError):
            os.mkdir(self._folder, 0o700)
        self._make_room(size)
        self._incoming = _Incoming(self._part, digest, size)

    def _make_room(self, coming: int) -> None:
        with contextlib.suppress(OSError):
            held = self._held()
            space = os.statvfs(self._folder)
            room = space.f_bavail * space.f_frsize + sum(file.size for file in held)
            needed = {digest.hex() for digest in self._maps}
            for name in to_forget(held, coming, min(self._limit, room // 2), needed=needed):
                with contextlib.suppress(OSError):  # another slot was faster
                    os.unlink(os.path.join(self._folder, name))

    def _held(self) -> list[Held]:
        held: list[Held] = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                if not entry.name.endswith(".part"):
                    held.append(Held(entry.name, facts.st_size, facts.st_mtime_ns))
        return held

    def _path(self, digest: bytes) -> str:
        return os.path.join(self._folder, digest.hex())


class _Incoming:
    """A content on its way: written to a file, or to memory where the disk does not take it."""

    def __init__(self, path: str, digest: bytes, size: int) -> None:
        self.digest = digest
        self.filled = 0
        self._size = size
        self._path = path
        import hashlib  # it loads OpenSSL, which few nodes need

        self._hash = hashlib.blake2b(digest_size=DIGEST)
        self._memory: Buffer | None = None
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            self._memory = allocate(size)

    def add(self, chunk: Buffer) -> None:
        """Put the next bytes behind those that are here."""
        view = memoryview(chunk)
        self._hash.update(view)
        if self._memory is None:
            try:
                self._write(view)
            except OSError:  # most likely the disk is full
                self._go_to_memory()
        if self._memory is not None:
            memoryview(self._memory)[self.filled : self.filled + len(view)] = view
        self.filled += len(view)

    def _write(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], self.filled + done)

    def _go_to_memory(self) -> None:
        memory = allocate(self._size)
        done, room = 0, memoryview(memory)
        while done < self.filled:
            count = os.preadv(self._descriptor, [room[done : self.filled]], done)
            if not count:
                raise OSError(f"the file of a shared argument has lost its end: {self._path}")
            done += count
        self._memory = memory
        self.drop()

    def end(self, path: str) -> Buffer | None:
        """All bytes are here: give the file its name and return them; ``None`` if they are not what they should be."""
        if self._hash.digest() != self.digest:
            self.drop()
            return None
        if self._memory is not None:
            return memoryview(self._memory).toreadonly()
        mapped = mmap.mmap(self._descriptor, self._size, access=mmap.ACCESS_READ)
        os.close(self._descriptor)
        self._descriptor = -1
        with contextlib.suppress(OSError):  # then this slot alone has it
            os.rename(self._path, path)
        return mapped

    def drop(self) -> None:
        """Leave no file behind."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def _places(table: Buffer) -> list[Place]:
    return [Place(*place) for place in pickle.loads(table)]
