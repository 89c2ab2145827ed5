"""Arguments and results: what goes in comes out, buffers are not copied, and what cannot go is named."""

from __future__ import annotations

import decimal
import io
import pickle
import socket
import threading
from collections import OrderedDict, deque
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skyward._codec import decode, encode_call
from skyward.computation import PendingCompute
from skyward.errors import SerializationError
from skyward.function import compute
from skyward.worker import pickling

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary(max_size=8192)
    | st.binary(max_size=100).map(bytearray)
    | st.decimals(allow_nan=False)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=20)
        | st.lists(inner, max_size=3).map(deque)
        | st.frozensets(st.integers(), max_size=1)
    ),
    max_leaves=40,
)


def plain(x: Any = None, *items: Any, config: Any = None, **more: Any) -> None: ...


def there_and_back(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    payload = encode_call(args, kwargs, "plain", plain)
    buffers = [bytearray(view) for view in payload.buffers]
    assert payload.size == len(payload.data) + sum(map(len, buffers))
    loaded: tuple[tuple[Any, ...], dict[str, Any]] = decode(payload.data, buffers)
    return loaded


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(min_size=1, max_size=4), VALUES, max_size=3))
def test_arguments_arrive_equal_and_of_the_same_types(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert repr(there_and_back(*args, **kwargs)) == repr((tuple(args), kwargs))


@given(VALUES)
def test_results_arrive_equal_and_of_the_same_types(value: Any) -> None:
    data, buffers = pickling.dumps(value)
    assert repr(decode(data, [bytearray(view) for view in buffers])) == repr(value)


@given(hnp.arrays(st.sampled_from(["f8", "i4", "u1", "M8[ns]", "U3", "?"]), hnp.array_shapes(max_side=60)), st.data())
def test_arrays_arrive_whole_in_any_layout(array: Any, data: st.DataObject) -> None:
    step = data.draw(st.sampled_from([1, 2, -1]))
    view = data.draw(st.sampled_from([array, array.T, np.asfortranarray(array)]))[::step]
    ((got,), _) = there_and_back(view)
    assert got.dtype == view.dtype
    np.testing.assert_array_equal(got, view)


def test_one_object_given_twice_stays_one_object() -> None:
    row, blob = [1], b"x" * 100_000
    (first, second, third, fourth), _ = there_and_back(row, row, blob, blob)
    assert first is second
    assert third is fourth


def test_a_list_that_holds_itself_arrives_so() -> None:
    loop: list[Any] = []
    loop.append(loop)
    ((got,), _) = there_and_back(loop)
    assert got[0] is got


def test_the_memory_of_arrays_is_handed_out_not_copied() -> None:
    array = np.arange(100_000.0)
    payload = encode_call((), {"config": {"table": array}}, "plain", plain)
    (view,) = payload.buffers
    assert (view.format, view.ndim, view.nbytes) == ("B", 1, array.nbytes)
    assert np.shares_memory(np.frombuffer(view, "u1"), array)
    assert len(payload.data) < 500


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_long_byte_strings_are_handed_out_not_copied(kind: Any) -> None:
    blob = kind(b"ab" * 100_000)
    payload = encode_call((blob,), {"config": blob}, "plain", plain)
    assert [view.nbytes for view in payload.buffers] == [200_000]
    assert np.shares_memory(np.frombuffer(payload.buffers[0], "u1"), np.frombuffer(blob, "u1"))
    (got,), kwargs = decode(payload.data, [bytearray(payload.buffers[0])])
    assert type(got) is kind
    assert got == kwargs["config"] == blob
    data, buffers = pickling.dumps(blob)
    assert len(buffers) == 1
    assert decode(data, buffers) == blob


def test_buffers_below_four_kib_stay_in_the_pickle() -> None:
    assert encode_call((np.zeros(511),), {}, "plain", plain).buffers == []
    assert len(encode_call((np.zeros(512),), {}, "plain", plain).buffers) == 1


def test_arrays_can_be_written_to_on_arrival() -> None:
    for size in (10, 10_000):
        ((got,), _) = there_and_back(np.zeros(size))
        got[0] = 1


def test_data_frames_arrive_equal() -> None:
    frame = pd.DataFrame({"a": range(5000), "b": [str(i) for i in range(5000)]})
    ((got,), _) = there_and_back(frame)
    pd.testing.assert_frame_equal(got, frame)


class Point(NamedTuple):
    x: int
    y: int


class Color(Enum):
    RED = 1


class Number(int):
    pass


def test_subclasses_of_plain_types_keep_their_class() -> None:
    values = (Point(1, 2), Color.RED, Number(4), OrderedDict(b=1, a=2), True, decimal.Decimal("1.5"))
    got, _ = there_and_back(*values)
    assert [(type(a), a) for a in got] == [(type(a), a) for a in values]


def test_functions_and_classes_of_no_module_are_arguments_too() -> None:
    class Local:
        value = 3

    (double, kind, one), _ = there_and_back(lambda x: 2 * x, Local, Local())
    assert (double(4), kind.value, type(one)) == (8, 3, kind)


def test_a_class_sent_by_value_comes_back_as_itself_and_untouched(shared_node: Any) -> None:
    space: dict[str, Any] = {"__name__": "__main__", "calls": []}
    exec(
        "class Model:\n  rate = 1\n  def note(self): calls.append(self.rate)\n"
        "import enum\nclass Mode(enum.Enum):\n  FAST = 1\n",
        space,
    )
    model, mode = space["Model"], space["Mode"]
    method = model.note

    def train() -> Any:
        model.rate = 5
        return model(), mode.FAST

    got, fast = shared_node.run(compute(train))
    model.rate = 2
    got, fast = shared_node.run(compute(train))
    assert type(got) is model
    assert fast is mode.FAST
    assert (model.note, model.rate) == (method, 2)
    got.note()
    assert space["calls"] == [2]


def test_a_class_made_on_the_node_comes_back(shared_node: Any) -> None:
    def make() -> Any:
        class Fresh:
            value = 6

        return Fresh()

    assert shared_node.run(compute(make)).value == 6


def refused(*args: Any, **kwargs: Any) -> SerializationError:
    with pytest.raises(SerializationError) as caught:
        encode_call(args, kwargs, "plain", plain)
    assert caught.value.message.startswith(f"{caught.value.path}: ")
    assert pickle.loads(pickle.dumps(caught.value)).path == caught.value.path
    return caught.value


class Holder:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def test_a_culprit_is_named_by_its_path_in_the_arguments() -> None:
    model = Holder(lock=threading.Lock())
    vars(model)["me"] = model
    error = refused(1, config={"ok": 1, "model": model})
    assert error.path == "argument 'config'['model'].lock"
    assert "cannot pickle '_thread.lock' object" in error.message
    assert "build it inside the function" in error.message


def test_arguments_are_named_by_their_parameters() -> None:
    lock = threading.Lock()
    assert refused(lock).path == "argument 'x'"
    assert refused(1, 2, [lock]).path == "argument 'items'[1][0]"
    assert refused(1, other=lock).path == "argument 'other'"
    with pytest.raises(SerializationError, match=r"^argument 2: "):
        encode_call((1, lock), {}, "range", range)


def test_what_a_function_given_as_argument_captures_is_named() -> None:
    lock = threading.Lock()
    assert refused(lambda: lock).path == "argument 'x' -> 'lock' (a variable that <lambda> closes over)"


def test_pools_and_pending_calls_are_refused_with_the_remedy() -> None:
    pending = compute(plain)(1)
    pending.dispatched = True
    assert isinstance(pending, PendingCompute)
    error = refused([pending])
    assert error.path == "argument 'x'[0]"
    assert "dispatch it" in error.message


def test_every_frequent_culprit_has_a_remedy_of_its_own() -> None:
    with socket.socket() as connection, io.BytesIO() as memory, open(__file__, "rb") as file:
        cases: dict[str, Any] = {
            "connect inside the function": connection,
            "open it inside the function": file,
            "list(...)": (x for x in "ab"),
            "start one inside the function": threading.Thread(),
            "leave it out": threading.Event(),
        }
        assert there_and_back(memory)[0][0].getvalue() == b""
        for remedy, culprit in cases.items():
            error = refused({"here": culprit})
            assert error.path == "argument 'x'['here']"
            assert remedy in error.message


class Sour:
    def __reduce__(self) -> Any:
        raise ValueError("no pickles today")


def test_an_error_of_the_objects_own_code_is_shown() -> None:
    error = refused([Sour()])
    assert error.path == "argument 'x'[0]"
    assert "cannot pickle 'Sour' object: ValueError: no pickles today" in error.message
    assert isinstance(error.__cause__, ValueError)


def test_a_value_nested_too_deeply_is_refused_and_says_so() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in refused(deep).message
    while deep:  # taken apart from the outside, for freeing it may recurse too
        deep = deep[0]


def test_encoding_no_arguments_costs_no_pickling() -> None:
    assert encode_call((), {}, "plain", plain) is encode_call((), {}, "plain", plain)
    assert decode(encode_call((), {}, "plain", plain).data) == ((), {})
