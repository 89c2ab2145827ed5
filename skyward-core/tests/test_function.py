"""``@compute``: what it accepts, what it keeps of the function, and which calls it refuses."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import operator
import pickle
import pydoc
import subprocess
import sys
from types import ModuleType
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward.computation import PendingCompute
from skyward.errors import ConfigurationError
from skyward.function import ComputeFunction, compute


@compute
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@compute(retry=3)
def double(x: int) -> int:
    return x * 2


class Scaler:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    @compute
    def scale(self, x: int) -> int:
        return x * self.factor

    @staticmethod
    @compute
    def zero(x: int) -> int:
        return x * 0

    @classmethod
    @compute
    def label(cls, x: int) -> str:
        return f"{cls.__name__}{x}"


def outcome(pending: PendingCompute[Any]) -> Any:
    pending.dispatched = True
    return pending.function.fn(*pending.args, **pending.kwargs)


def test_a_call_runs_nothing_and_holds_its_arguments() -> None:
    ran: list[int] = []
    pending = compute(ran.append)(1)
    assert (pending.args, pending.kwargs, ran) == ((1,), {}, [])
    assert outcome(pending) is None
    assert ran == [1]


def test_local_is_the_function_itself() -> None:
    assert add.local(1) == 3
    assert add.local is add.fn is add.__skyward_local__


def test_it_looks_like_the_function_that_it_wraps() -> None:
    assert (add.__name__, add.__qualname__, add.__doc__, add.__module__) == ("add", "add", "Add two numbers.", __name__)
    assert str(inspect.signature(add)) == str(inspect.signature(add.fn))
    assert add.name == "add"


def test_help_shows_the_signature_and_the_docstring() -> None:
    text = pydoc.plain(pydoc.render_doc(add))
    assert "add(a: 'int', b: 'int' = 2)" in text
    assert "Add two numbers." in text


def test_its_repr_names_the_function_with_its_signature() -> None:
    assert repr(add) == f"<compute function {__name__}.add(a: 'int', b: 'int' = 2) -> 'int'>"
    assert repr(compute(dict.fromkeys)).endswith("fromkeys(iterable, value=None, /)>")


def test_retry_is_kept_and_none_by_default() -> None:
    assert (add.retry, double.retry) == (0, 3)


@pytest.mark.parametrize("retry", [-1, 1.5, True, "2"])
def test_a_retry_that_is_no_number_of_times_is_refused(retry: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a number of times: pass 0, 1, 2"):
        compute(retry=retry)


def test_decorating_twice_changes_nothing() -> None:
    assert compute(double) is double
    assert compute(retry=3)(double) is double


def test_decorating_again_with_another_retry_gives_a_function_with_that_retry() -> None:
    again = compute(retry=1)(double)
    assert (again.retry, again.fn, double.retry) == (1, double.fn, 3)


async def coroutine() -> None: ...


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


class AsyncCallable:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (coroutine, r"coroutine function.*returns asyncio\.run\(coroutine\(\.\.\.\)\)"),
        (AsyncCallable(), r"coroutine function.*asyncio\.run"),
        (generator, "generator function.*return a list"),
        (async_generator, "generator function.*return a list"),
        (Scaler, "is a class: decorate a function that makes the instance"),
        (staticmethod(repr), "put @staticmethod above and @compute below"),
        (classmethod(repr), "put @classmethod above and @compute below"),
        (property(len), "put @property above and @compute below"),
        (3, r"write @compute\(retry=3\)"),
        ("name", "needs a function, not 'name'"),
    ],
)
def test_what_cannot_run_on_a_node_is_refused_with_the_remedy(thing: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        compute(thing)


def test_the_remedy_for_a_coroutine_function_works() -> None:
    async def answer() -> int:
        return 42

    wrapped = compute(lambda: asyncio.run(answer()))
    assert outcome(wrapped()) == 42


def test_callables_of_other_kinds_are_accepted() -> None:
    assert outcome(compute(math.sqrt)(9)) == 3
    assert outcome(compute(functools.partial(operator.sub, 5))(3)) == 2
    assert compute(functools.partial(operator.sub, 5)).name == "partial"
    assert outcome(compute(max)(1, 5)) == 5  # tells no signature: anything goes


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"add\(\) missing a required argument: 'a': it takes add\(a: 'int', b: 'int' = 2\)"),
        ((1, 2, 3), {}, r"add\(\) too many positional arguments"),
        ((1,), {"c": 3}, r"add\(\) got an unexpected keyword argument 'c'"),
        ((1,), {"a": 3}, r"add\(\) multiple values for argument 'a'"),
    ],
)
def test_wrong_arguments_are_refused_by_the_call(args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        add(*args, **kwargs)


def test_wrong_arguments_of_a_partial_are_refused_by_the_call() -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        compute(functools.partial(add.fn, 1))(2, 3)


SHAPES: list[Any] = [
    lambda: None,
    lambda a: None,
    lambda a, b=1: None,
    lambda a, /: None,
    lambda a, /, b: None,
    lambda a, b=1, /, c=2: None,
    lambda a=0, /, **more: None,
    lambda *rest: None,
    lambda a, *rest: None,
    lambda *, k: None,
    lambda *, k=1: None,
    lambda a, *, k: None,
    lambda a, *rest, k=1, **more: None,
    lambda a, b, /, c, d=1, *, e, f=2: None,
    lambda **more: None,
]


@given(
    st.sampled_from(SHAPES),
    st.lists(st.integers(), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "f", "k", "z"]), st.integers(), max_size=4),
)
def test_a_call_is_refused_exactly_when_python_would_refuse_it(
    fn: Any, args: list[int], kwargs: dict[str, int]
) -> None:
    try:
        fn(*args, **kwargs)
        fits = True
    except TypeError:
        fits = False
    function = compute(fn)
    for _ in range(2):  # the second call knows the signature
        try:
            function(*args, **kwargs).dispatched = True
            accepted = True
        except TypeError:
            accepted = False
        assert accepted == fits


def test_arguments_called_self_and_function_do_not_clash() -> None:
    assert outcome(compute(lambda self, function: (self, function))(self=1, function=2)) == (1, 2)


def test_as_a_method_the_instance_is_the_first_argument() -> None:
    scaler = Scaler(3)
    pending = scaler.scale(4)
    assert pending.args == (scaler, 4)
    assert pending.function is Scaler.__dict__["scale"]
    assert outcome(pending) == 12
    assert scaler.scale.local(5) == 15
    assert outcome(Scaler.scale(scaler, 2)) == 6
    with pytest.raises(TypeError, match=r"scale\(\) too many positional arguments"):
        scaler.scale(1, 2)  # type: ignore[call-arg]


def test_a_bound_method_survives_pickling() -> None:
    again = cloudpickle.loads(cloudpickle.dumps(Scaler(7).scale))
    assert outcome(again(2)) == 14


def test_static_and_class_methods_work_above_it() -> None:
    scaler: Any = Scaler  # mypy binds what stands below @staticmethod or @classmethod as if it were a plain method
    assert outcome(scaler.zero(3)) == outcome(scaler(1).zero(3)) == 0
    assert outcome(scaler.label(3)) == outcome(scaler(1).label(3)) == "Scaler3"


def test_a_callable_that_does_not_bind_stays_unbound_in_a_class() -> None:
    class Holder:
        root: Any = compute(math.sqrt)

    assert outcome(Holder().root(4)) == 2


def test_marks_on_the_function_are_kept() -> None:
    def marked() -> None: ...

    vars(marked)["colour"] = "red"
    assert vars(compute(marked))["colour"] == "red"


@pytest.fixture
def module() -> Any:
    """An importable module that holds a compute function, as a user's would."""
    name = "skyward_test_module_with_a_compute_function"
    made = ModuleType(name)
    sys.modules[name] = made
    exec(
        "from skyward.function import compute\n"
        "@compute(retry=1)\ndef triple(x): return 3 * x\n"
        "class Box:\n    @compute\n    def open(self): return 'open'\n",
        made.__dict__,
    )
    yield made
    del sys.modules[name]


def test_an_importable_function_is_pickled_by_name(module: Any) -> None:
    for pickler in (pickle, cloudpickle):
        assert pickle.loads(pickler.dumps(module.triple)) is module.triple
        assert pickle.loads(pickler.dumps(module.Box.open)) is module.Box.open


def test_a_function_of_a_module_that_is_sent_by_value_is_pickled_by_value(module: Any) -> None:
    cloudpickle.register_pickle_by_value(module)
    try:
        data = cloudpickle.dumps(module.triple)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    again = pickle.loads(data)
    assert again is not module.triple
    assert (again.local(2), again.retry) == (6, 1)


def test_a_function_that_no_import_finds_is_pickled_by_value() -> None:
    factor = 4

    @compute(retry=2)
    def scaled(x: int) -> int:
        """Scale."""
        return x * factor

    again = pickle.loads(cloudpickle.dumps(scaled))
    assert isinstance(again, ComputeFunction)
    assert (again.local(2), again.retry, again.name, again.__doc__) == (8, 2, "scaled", "Scale.")


def test_a_function_that_refers_to_itself_is_pickled_by_value() -> None:
    space: dict[str, Any] = {"compute": compute, "__name__": "__main__"}
    exec("@compute\ndef fact(n, one=1):\n    return one if n < 2 else n * fact.local(n - 1)\n", space)
    again = pickle.loads(cloudpickle.dumps(space["fact"]))
    raw = pickle.loads(cloudpickle.dumps(space["fact"].fn))
    assert again.local(5) == raw(5) == 120
    assert again.local.__globals__["fact"] is again
    inner = raw.__globals__["fact"]
    assert outcome(inner(4)) == 24
    with pytest.raises(TypeError, match="too many"):
        inner(1, 2, 3)


HEAVY = {"asyncio", "attr", "attrs", "cloudpickle", "dataclasses", "dis", "inspect", "pluggy", "threading"}


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"  # coverage may have loaded a few
        "import skyward.function, skyward._current\n"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "skyward.function" in loaded
    assert not loaded & HEAVY
