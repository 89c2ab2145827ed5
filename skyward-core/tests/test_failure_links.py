"""The exceptions that hang on an exception, as causes, contexts, members and arguments, arrive with it."""

from __future__ import annotations

from typing import Any

import pytest
from failure_fakes import Data, MyGroup, caught, travel

from skyward.worker.failure import MAX_RECORDS


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
