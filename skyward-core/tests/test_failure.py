"""An exception taken apart on the node and put together on the client is the same one."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import threading
from typing import Any

import pytest
from failure_fakes import (
    Attrs,
    Data,
    ExtendedOSError,
    Formats,
    Frozen,
    KeywordOnly,
    Reduces,
    ReducesByRaising,
    ReducesWrongly,
    Slotted,
    caught,
    json_error,
    syntax_error,
    travel,
)
from hypothesis import given
from hypothesis import strategies as st

from skyward._failure import decode
from skyward._stand_in import RemoteRepr
from skyward.errors import TaskCancelled, TaskError, TaskExit

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
