"""Classes of exceptions: the client's own where it has them, look-alikes where it has not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from skyward import _missing_module
from skyward._failure import decode
from skyward._stand_in import RemoteRepr, StandIn, stand_in_class
from skyward.worker.failure import encode

FAR = """
class Mixin:
    def help(self):
        return "helped"

class Base(OSError):
    pass

class Far(Base, KeyError):
    __slots__ = ("depth",)

    def __init__(self, a, *, b):
        super().__init__(2, "far")
        self.a = a
        self.b = b
        self.depth = 7

    def __str__(self):
        return f"far away: {self.a}"

class FarGroup(ExceptionGroup):
    pass

class FarExit(SystemExit):
    pass

class Value:
    def __repr__(self):
        return "Value()"
"""


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("far_away")
    exec(FAR, module.__dict__)
    monkeypatch.setitem(sys.modules, "far_away", module)
    return module


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.delitem(sys.modules, "far_away")


def travel(data: bytes) -> BaseException:
    return decode(data, node=0, slot=0)


def test_a_class_that_the_client_lacks_arrives_under_every_base_it_has(
    far: ModuleType, forget: Callable[[], None]
) -> None:
    data = encode(far.Far(1, b="x"))
    forget()
    exc = travel(data)
    assert isinstance(exc, StandIn)
    assert isinstance(exc, OSError)
    assert isinstance(exc, KeyError)
    assert (type(exc).__name__, type(exc).__module__) == ("Far", "far_away")
    assert str(exc) == "far away: 1"
    assert repr(exc).startswith("Far(")
    assert (vars(exc)["a"], vars(exc)["b"], vars(exc)["depth"]) == (1, "x", 7)
    assert exc.errno == 2
    assert type(travel(data)) is type(exc)


def test_a_stand_in_pickles(far: ModuleType, forget: Callable[[], None]) -> None:
    data = [encode(far.Far(1, b="x")), encode(far.FarGroup("many", [far.Far(2, b=None)]))]
    forget()
    for exc in map(travel, data):
        again = pickle.loads(pickle.dumps(exc))
        assert type(again) is type(exc)
        assert (str(again), repr(again), again.args[:1]) == (str(exc), repr(exc), exc.args[:1])


def test_a_group_that_the_client_lacks_is_still_a_group(far: ModuleType, forget: Callable[[], None]) -> None:
    data = encode(far.FarGroup("many", [far.Far(1, b=2), ValueError(3)]))
    forget()
    exc = travel(data)
    assert isinstance(exc, ExceptionGroup)
    assert isinstance(exc.exceptions[0], StandIn)
    matched, rest = exc.split(ValueError)
    assert matched is not None
    assert rest is not None


def test_an_exit_that_the_client_lacks_is_still_an_exit(far: ModuleType, forget: Callable[[], None]) -> None:
    data = encode(far.FarExit(4))
    forget()
    assert vars(travel(data))["code"] == 4


def test_an_argument_of_a_class_that_the_client_lacks_becomes_its_repr(
    far: ModuleType, forget: Callable[[], None]
) -> None:
    exc = ValueError("kept", far.Value())
    exc.value = far.Value()  # type: ignore[attr-defined]
    data = encode(exc)
    forget()
    again = travel(data)
    assert type(again) is ValueError
    assert again.args == ("kept", "Value()")
    assert vars(again) == {"value": "Value()"}
    stand_in = vars(again)["value"]
    assert isinstance(stand_in, RemoteRepr)
    assert stand_in.type_name == "far_away.Value"
    assert "far_away" in stand_in.reason


def test_bases_that_cannot_be_combined_are_dropped() -> None:
    made = stand_in_class("m", "Clash", (int, ValueError))
    assert made.__bases__ == (StandIn, ValueError)
    assert issubclass(stand_in_class("m", "None", ()), Exception)


def test_a_class_that_cannot_be_made_bare_gets_a_stand_in(far: ModuleType) -> None:
    class Refuses(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return False

    class Odd(ValueError, metaclass=Refuses):
        pass

    exc = travel(encode(Odd("text")))
    assert type(exc).__name__ == "Odd"
    assert issubclass(type(exc), ValueError)
    assert str(exc) == "text"


WORKER = """
import sys, pickle
from skyward.worker.failure import encode
function = pickle.load(sys.stdin.buffer)
try:
    function()
except BaseException as exc:
    sys.stdout.buffer.write(encode(exc))
"""

CLIENT = """
import subprocess, sys
import cloudpickle
from skyward._failure import decode

LIMIT = 3

class Thing:
    def limit(self):
        return LIMIT

class MyError(Exception):
    def __init__(self, *, thing):
        super().__init__("mine")
        self.thing = thing

    def limit(self):
        return LIMIT

def fail():
    try:
        raise MyError(thing=Thing())
    except MyError as exc:
        raise ExceptionGroup("many", [exc])

methods = MyError.limit, Thing.limit
done = subprocess.run([sys.executable, sys.argv[1]], input=cloudpickle.dumps(fail), capture_output=True, check=True)
try:
    raise decode(done.stdout, node=0, slot=0)
except* MyError as group:
    exc = group.exceptions[0]
assert type(exc) is MyError and type(exc.thing) is Thing
assert (MyError.limit, Thing.limit) == methods
LIMIT = 4
assert exc.limit() == exc.thing.limit() == 4
print("same")
"""


def test_a_class_of_main_arrives_as_the_very_same_class_untouched(tmp_path: Path) -> None:
    worker, client = tmp_path / "worker.py", tmp_path / "client.py"
    worker.write_text(WORKER)
    client.write_text(CLIENT)
    done = subprocess.run([sys.executable, client, worker], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("same\n", "")


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_missing_package_is_noted_with_the_remedy() -> None:
    exc = travel(encode(missing("sklearn_of_nobody")))
    (note,) = exc.__notes__
    assert note.startswith("'sklearn_of_nobody' is not installed on node 0: add it to the pool's image, ")
    assert note.endswith("image=sky.Image(pip=['sklearn_of_nobody'])")


def test_a_missing_package_behind_an_error_is_noted_too() -> None:
    exc = RuntimeError("needs more")
    exc.__cause__ = missing("absent_thing")
    cause = travel(encode(exc)).__cause__
    assert cause is not None
    assert "absent_thing" in cause.__notes__[0]


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("_pytest", "pytest"),
        ("PIL", "pillow"),
        ("sklearn", "scikit-learn"),
        ("json", None),
        ("there.not_there", None),
    ],
)
def test_the_package_of_a_module_is_named(module: str, package: str | None) -> None:
    assert _missing_module.package_of(module) == package


def test_a_module_of_the_user_gets_no_such_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_helpers.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert not hasattr(travel(encode(missing("own_helpers"))), "__notes__")
