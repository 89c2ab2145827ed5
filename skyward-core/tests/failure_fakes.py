"""Exceptions of many makes, and the way to the client that they take in the tests of failures."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any, Self

import attrs

from skyward._failure import decode
from skyward.worker.failure import encode


def caught[E: BaseException](exc: E) -> E:
    try:
        raise exc
    except BaseException:
        return exc


def travel(exc: BaseException, **options: bool) -> BaseException:
    return decode(encode(exc, **options), node=1, slot=0)


class KeywordOnly(Exception):
    def __init__(self, *, size: int) -> None:
        super().__init__(f"size is {size}")
        self.size = size


class Formats(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"no {name}")


class Slotted(Exception):
    __slots__ = ("__private", "_hidden", "where")

    def __init__(self, where: str) -> None:
        self.where = where
        self.__private = where * 2

    def private(self) -> str:
        return self.__private


@dataclass
class Data(Exception):
    a: int
    b: str = "b"


@dataclass(frozen=True)
class Frozen(Exception):
    a: int


@attrs.define
class Attrs(Exception):
    a: int
    b: list[int] = attrs.field(factory=list)


class Reduces(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")
        self.left, self.right = left, right
        self.handle = threading.Lock()

    def __reduce__(self) -> Any:
        return Reduces, (self.left, self.right)


class ReducesWrongly(Exception):
    def __reduce__(self) -> Any:
        return list, ()


class ReducesByRaising(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("not today")


class ExtendedOSError(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(7, "too much", path)
        self.path = path


class MyGroup(ExceptionGroup[Exception]):
    def __new__(cls, errors: list[Exception], code: int) -> Self:
        made = super().__new__(cls, "mine", errors)
        made.code = code
        return made

    code: int


def json_error() -> BaseException:
    try:
        json.loads('{"a": }')
    except ValueError as exc:
        return exc
    raise AssertionError


def syntax_error() -> BaseException:
    try:
        compile("a =\nb", "there.py", "exec")
    except SyntaxError as exc:
        return exc
    raise AssertionError
