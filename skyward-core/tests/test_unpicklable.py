"""The search for what cannot be pickled: it finds the way, in any structure, and always ends."""

from __future__ import annotations

import functools
import threading
import types
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward.worker.pickling import dumps
from skyward.worker.unpicklable import unpicklable_path

LOCK = threading.Lock()


class Box:
    def __init__(self, content: Any) -> None:
        self.content = content


class Slotted:
    __slots__ = ("__hidden", "shown")

    def __init__(self, shown: Any, hidden: Any) -> None:
        self.shown = shown
        self.__hidden = hidden


class Choosy:
    """Pickles something that is none of its attributes."""

    def __reduce__(self) -> Any:
        return Choosy, (), {"made": threading.Lock()}


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError


class Pair(NamedTuple):
    left: Any
    right: Any


@given(st.lists(st.sampled_from(["list", "dict", "tuple", "box", "deque", "pair"]), max_size=8))
def test_the_path_leads_to_the_culprit(kinds: list[str]) -> None:
    culprit = threading.Lock()
    value: Any = culprit
    for kind in kinds:
        wraps: dict[str, Callable[[Any], Any]] = {
            "list": lambda v: [1, v],
            "dict": lambda v: {"a": 1, "k": v},
            "tuple": lambda v: ("x", v),
            "box": Box,
            "deque": lambda v: deque([v]),
            "pair": lambda v: Pair(v, 1),
        }
        value = wraps[kind](value)
    found = unpicklable_path(value, "result")
    assert found is not None
    assert eval(found[0], {"result": value}) is culprit


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Slotted(LOCK, 1), "result.shown"),
        (Slotted(1, LOCK), "result.__hidden"),
        ({LOCK}, "result item "),
        ({LOCK: 1}, "result key "),
        (np.array([1, LOCK], dtype=object), "result[1]"),
        (functools.partial(print, LOCK), "result.args[0]"),
        (types.MethodType(print, LOCK), "result.__self__"),
        (Choosy(), "result.made"),
        ([Odd(), LOCK], "result[1]"),
        ([property(lambda self: LOCK)], "result[0] -> 'LOCK' (a global of <lambda>)"),
        (type("Made", (), {"lock": LOCK}), "result.lock"),
        (type("Made", (), {"lock": LOCK})(), "result.lock"),
        ({"x" * 100: LOCK}, "result['xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_it_is_found_wherever_it_hides(value: Any, path: str) -> None:
    found = unpicklable_path(value, "result")
    assert found is not None
    assert found[0].startswith(path)
    assert "cannot pickle" in found[1]


def test_what_can_be_pickled_gives_nothing() -> None:
    value: list[Any] = [1, {"a": Box(2)}, lambda x: x, Box]
    value.append(value)
    assert unpicklable_path(value, "result") is None
    dumps(value)


def test_the_search_ends_in_a_wide_value_with_a_culprit_that_only_pickling_makes() -> None:
    value = [Box(i) for i in range(3000)] + [Choosy()]
    found = unpicklable_path(value, "result")
    assert found is not None
    assert found[0].startswith("result")


@pytest.mark.parametrize(("root", "words"), [("result", "return plain data"), ("argument 'x'", "build it inside")])
def test_the_remedy_fits_the_place(root: str, words: str) -> None:
    class Sour:
        def __reduce__(self) -> Any:
            raise TypeError("cannot pickle this")

    found = unpicklable_path([Sour()], root)
    assert found == (f"{root}[0]", f"cannot pickle this; {found[1].partition('; ')[2]}" if found else "")
    assert found is not None
    assert words in found[1]
