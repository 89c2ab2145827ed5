"""An exception taken apart on the node and put together on the client is the same one."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import threading
from dataclasses import dataclass
from typing import Any, Self

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._failure import decode
from skyward._stand_in import RemoteRepr
from skyward.errors import TaskCancelled, TaskError, TaskExit
from skyward.worker.failure import MAX_RECORDS, encode


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


FAITHFUL = [
    ValueError("plain"),
    ValueError(),
    KeyError("k"),
    KeyError(("a", 1)),
    OSError(2, "gone", "a.txt", None, "b.txt"),
    FileNotFoundError(2, "gone"),
    OSError("only text"),
    BlockingIOError(11, "later", 5),
    UnicodeDecodeError("utf-8", b"\xff\x00", 0, 1, "bad"),
    UnicodeEncodeError("ascii", "\udcff", 0, 1, "bad"),
    StopIteration({"value": 1}),
    ImportError("no", name="a.b", path="/x"),
    json_error(),
    syntax_error(),
    subprocess.CalledProcessError(3, ["a", "b"], b"out", b"err"),
    subprocess.TimeoutExpired("a", 2.5, b"out"),
    pickle.PicklingError("cannot"),
    KeywordOnly(size=3),
    Formats("thing"),
    Data(1, b="x"),
    Frozen(4),
    Attrs(1, [2]),
    ExtendedOSError("p"),
    asyncio.InvalidStateError("state"),
]


@pytest.mark.parametrize("exc", FAITHFUL, ids=lambda exc: type(exc).__name__)
def test_an_exception_arrives_as_itself(exc: BaseException) -> None:
    again = travel(exc)
    assert type(again) is type(exc)
    assert again.args == exc.args
    assert str(again) == str(exc)
    assert repr(again) == repr(exc)
    assert vars(again) == vars(exc)


def test_the_fields_of_an_os_error_arrive() -> None:
    again = travel(OSError(2, "gone", "a.txt", None, "b.txt"))
    assert isinstance(again, FileNotFoundError)
    assert (again.errno, again.strerror, again.filename, again.filename2) == (2, "gone", "a.txt", "b.txt")


def test_the_fields_of_a_syntax_error_arrive() -> None:
    exc, again = syntax_error(), travel(syntax_error())
    assert isinstance(exc, SyntaxError)
    assert isinstance(again, SyntaxError)
    for name in ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"):
        assert getattr(again, name) == getattr(exc, name)


def test_the_value_of_stop_iteration_arrives() -> None:
    again = travel(StopIteration(5))
    assert isinstance(again, StopIteration)
    assert again.value == 5


def test_slots_arrive_private_ones_too_and_unset_ones_stay_unset() -> None:
    again = travel(Slotted("here"))
    assert isinstance(again, Slotted)
    assert (again.where, again.private()) == ("here", "herehere")
    assert not hasattr(again, "_hidden")


def test_a_class_that_reduces_itself_decides_what_travels() -> None:
    again = travel(Reduces(1, 2))
    assert isinstance(again, Reduces)
    assert (again.left, again.right, str(again)) == (1, 2, "1 and 2")
    assert again.handle.acquire(blocking=False)


@pytest.mark.parametrize("cls", [ReducesWrongly, ReducesByRaising])
def test_a_broken_reduce_is_done_without(cls: type[Exception]) -> None:
    again = travel(cls("text", 1))
    assert type(again) is cls
    assert again.args == ("text", 1)


def test_an_argument_that_does_not_pickle_becomes_its_repr_and_the_rest_stays() -> None:
    lock = threading.Lock()
    exc = ValueError("text", lock)
    exc.lock, exc.number = lock, 3  # type: ignore[attr-defined]
    again = travel(exc)
    assert type(again) is ValueError
    stand_in = again.args[1]
    assert again.args == ("text", repr(lock))
    assert isinstance(stand_in, RemoteRepr)
    assert stand_in.type_name == "_thread.lock"
    assert "cannot pickle" in stand_in.reason
    assert vars(again) == {"lock": repr(lock), "number": 3}
    assert str(again) == str(exc)
    assert str(pickle.loads(pickle.dumps(again))) == str(exc)


def test_an_argument_whose_repr_raises_costs_nothing_else() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    again = travel(ValueError(1, Odd()))
    assert again.args[0] == 1
    assert "Odd" in again.args[1]


def test_notes_arrive_unchanged() -> None:
    exc = ValueError("x")
    exc.add_note("one")
    exc.add_note("two\nlines")
    assert travel(exc).__notes__ == ["one", "two\nlines"]
    assert not hasattr(travel(ValueError("x")), "__notes__")


def test_cause_context_and_suppression_arrive() -> None:
    def fail() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise TypeError("second")  # noqa: B904
        except TypeError as exc:
            raise ValueError("third") from exc

    with pytest.raises(ValueError, match="third") as info:
        fail()
    again = travel(info.value)
    assert isinstance(again.__cause__, TypeError)
    assert again.__cause__ is again.__context__
    assert again.__suppress_context__
    assert isinstance(again.__cause__.__context__, KeyError)
    assert not again.__cause__.__suppress_context__


def test_suppressed_context_stays_suppressed() -> None:
    exc = ValueError("x")
    exc.__context__ = KeyError("y")
    exc.__suppress_context__ = True
    again = travel(exc)
    assert again.__cause__ is None
    assert again.__suppress_context__


def test_a_cycle_of_causes_arrives() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    first.args = ("1", second)
    again = travel(first)
    assert again.__cause__ is not None
    assert again.__cause__.__cause__ is again
    assert again.args[1] is again.__cause__


def test_an_exception_inside_an_attribute_is_the_linked_one() -> None:
    exc = ValueError("x")
    cause = caught(KeyError("y"))
    exc.errors, exc.__cause__ = [cause], cause  # type: ignore[attr-defined]
    again = travel(exc)
    assert vars(again)["errors"][0] is again.__cause__
    assert again.__cause__ is not None
    assert again.__cause__.__traceback__ is not None


def test_an_exception_that_reduces_itself_around_itself_arrives() -> None:
    class Loop(Exception):
        def __reduce__(self) -> Any:
            return Loop, ("x", self.__cause__)

    exc, cause = Loop("x"), ValueError("c")
    exc.__cause__, cause.__cause__ = cause, exc
    again = travel(exc)
    assert again.__cause__ is not None
    assert again.__cause__.__cause__ is again


def test_groups_arrive_with_their_members_and_tracebacks() -> None:
    inner = caught(ExceptionGroup("inner", [caught(KeyError("k")), Data(1)]))
    again = travel(caught(ExceptionGroup("outer", [caught(ValueError("v")), inner])))
    assert isinstance(again, ExceptionGroup)
    assert str(again) == "outer (2 sub-exceptions)"
    value, nested = again.exceptions
    assert isinstance(value, ValueError)
    assert value.__traceback__ is not None
    assert isinstance(nested, ExceptionGroup)
    assert nested.exceptions[1] == Data(1)
    with pytest.raises(ExceptionGroup) as info:
        raise again
    assert info.value.split(KeyError)[0] is not None


def test_a_group_with_a_constructor_of_its_own_arrives() -> None:
    again = travel(MyGroup([ValueError("v")], 3))
    assert isinstance(again, MyGroup)
    assert again.code == 3
    assert isinstance(again.exceptions[0], ValueError)


def test_an_endless_chain_is_cut() -> None:
    exc: BaseException = ValueError(0)
    for number in range(1, MAX_RECORDS * 3):
        following = ValueError(number)
        following.__context__ = exc
        exc = following
    again: BaseException | None = travel(exc)
    count = 0
    while again is not None:
        again, count = again.__context__, count + 1
    assert count == MAX_RECORDS


def test_a_huge_message_is_kept_whole() -> None:
    text = "x" * (1 << 22)
    assert travel(ValueError(text)).args == (text,)


@pytest.mark.parametrize("code", [None, 0, 3, "bye"])
def test_sys_exit_becomes_task_exit(code: object) -> None:
    again = travel(caught(SystemExit(code)))
    assert isinstance(again, TaskExit)
    assert (again.code, again.node, again.slot) == (code, 1, 0)
    assert again.__traceback__ is not None
    assert repr(code) in again.message


def test_a_cancelled_task_ends_with_task_cancelled() -> None:
    again = travel(caught(KeyboardInterrupt()), cancelled=True)
    assert isinstance(again, TaskCancelled)
    assert again.__cause__ is None
    assert again.__traceback__ is not None
    assert isinstance(travel(ValueError("x"), cancelled=True).__cause__, ValueError)


class Escapes(BaseException):
    pass


@pytest.mark.parametrize(
    "exc",
    [
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError("c"),
        Escapes("e"),
        BaseExceptionGroup("g", [KeyboardInterrupt()]),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_is_no_exception_is_the_cause_of_a_task_error(exc: BaseException) -> None:
    again = travel(exc)
    assert type(again) is TaskError
    assert type(again.__cause__) is type(exc)
    assert type(exc).__name__ in again.message


def test_encode_survives_a_class_that_fights_back() -> None:
    class Hostile(ValueError):
        @property
        def args(self) -> Any:  # type: ignore[override]
            raise RuntimeError

        def __str__(self) -> str:
            raise RuntimeError

        def __reduce_ex__(self, protocol: Any) -> Any:
            raise SystemExit

    assert isinstance(travel(Hostile()), ValueError)


@pytest.mark.parametrize("data", [b"", b"junk", pickle.dumps(None), pickle.dumps({"records": []})])
def test_bytes_that_are_no_failure_become_a_task_error(data: bytes) -> None:
    again = decode(data, node=2, slot=1)
    assert isinstance(again, TaskError)
    assert (again.node, again.slot) == (2, 1)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(plain, max_size=4), st.dictionaries(st.text(min_size=1).filter(lambda key: key[0] != "_"), plain))
def test_arguments_and_attributes_arrive_equal(args: list[object], attributes: dict[str, object]) -> None:
    exc = LookupError(*args)
    exc.__dict__.update(attributes)
    again = travel(exc)
    assert again.args == tuple(args)
    assert vars(again) == attributes
