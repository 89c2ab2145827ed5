"""Functions on their way to a node: what is captured is always the latest, and no more is sent than needed."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._codec import EncodedFunction, encode_function
from skyward.errors import SerializationError, SkywardWarning
from skyward.function import ComputeFunction, compute
from skyward.worker import pickling


def script(source: str, **names: Any) -> dict[str, Any]:
    """A namespace such as a script's or a notebook's, after running ``source`` in it."""
    namespace: dict[str, Any] = {"__name__": "__main__", "compute": compute, **names}
    exec(source, namespace)
    return namespace


def arrived(encoded: EncodedFunction) -> Any:
    """The function that a node makes of it."""
    payload = encoded.payload
    loaded = pickling.loads(payload.data, [bytearray(view) for view in payload.buffers])
    return getattr(loaded, "__skyward_local__", loaded)


def run(function: ComputeFunction[..., Any], *args: Any) -> Any:
    return arrived(encode_function(function))(*args)


def test_an_unchanged_function_is_the_same_object_every_time() -> None:
    space = script("LIMIT = 7\ndef helper(x): return x + LIMIT\n@compute\ndef f(x): return helper(x)")
    assert encode_function(space["f"]) is encode_function(space["f"])
    assert len(encode_function(space["f"]).digest) == 16


CHANGES = {
    "a global": ("N = 1\n@compute\ndef f(): return N", "N = 2", 1, 2),
    "a global that was not there": (
        "@compute\ndef f():\n  try: return N\n  except NameError: return 0", "N = 2", 0, 2),
    "a global of a helper": ("N = 1\ndef g(): return N\n@compute\ndef f(): return g()", "N = 2", 1, 2),
    "a builtin that becomes a global": ("@compute\ndef f(): return len([])", "def len(x): return 9", 0, 9),
    "an item of a list": ("N = [1]\n@compute\ndef f(): return N", "N.append(2)", [1], [1, 2]),
    "an equal item of another type": (
        "N = [1]\n@compute\ndef f(): return repr(N)", "N[0] = True", "[1]", "[True]"),
    "an item deep inside": (
        "N = {'a': [(1, [2])]}\n@compute\ndef f(): return N", "N['a'][0][1].append(3)",
        {"a": [(1, [2])]}, {"a": [(1, [2, 3])]}),
    "an item of a long list": ("N = [0] * 1000\n@compute\ndef f(): return sum(N)", "N[500] = 5", 0, 5),
    "an attribute of an instance": (
        "class C: pass\nN = C()\nN.v = 1\n@compute\ndef f(): return N.v", "N.v = 2", 1, 2),
    "an attribute of a class": ("class C: v = 1\n@compute\ndef f(): return C.v", "C.v = 2", 1, 2),
    "a method of a class": (
        "class C:\n  def m(self): return 1\n@compute\ndef f(): return C().m()", "C.m = lambda self: 2", 1, 2),
    "a class": ("class C: v = 1\n@compute\ndef f(): return C.v", "class C: v = 2", 1, 2),
    "a helper": ("def g(): return 1\n@compute\ndef f(): return g()", "def g(): return 2", 1, 2),
    "a helper's code": (
        "def g(): return 1\n@compute\ndef f(): return g()", "g.__code__ = (lambda: 2).__code__", 1, 2),
    "the defaults": ("@compute\ndef f(x=1): return x", "f.fn.__defaults__ = (2,)", 1, 2),
    "a mutable default": ("@compute\ndef f(x=[1]): return x", "f.fn.__defaults__[0].append(2)", [1], [1, 2]),
    "a keyword default": ("@compute\ndef f(*, x=1): return x", "f.fn.__kwdefaults__['x'] = 2", 1, 2),
    "a helper's attribute": ("def g(): return g.v\ng.v = 1\n@compute\ndef f(): return g()", "g.v = 2", 1, 2),
    "a cell": (
        "def make(n):\n def bump():\n  nonlocal n\n  n += 1\n return compute(lambda: n), bump\nf, bump = make(1)",
        "bump()", 1, 2),
    "another compute function": (
        "@compute\ndef g(): return 1\n@compute\ndef f(): return g.local()", "@compute\ndef g(): return 2", 1, 2),
    "a global of another compute function": (
        "N = 1\n@compute\ndef g(): return N\n@compute\ndef f(): return g.local()", "N = 2", 1, 2),
    "the function of another compute function": (
        "@compute\ndef g(): return 1\n@compute\ndef f(): return g.local()", "g.fn = lambda: 2", 1, 2),
    "a global read in the body of a class": (
        "N = 1\n@compute\ndef f():\n  class C:\n    v = N\n  return C.v", "N = 2", 1, 2),
    "a global that is deleted": (
        "N = 1\n@compute\ndef f():\n  try: return N\n  except NameError: return 0", "del N", 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_what_changed_between_two_calls_arrives(case: str, shared_node: Any) -> None:
    source, change, before, after = CHANGES[case]
    space = script(source)
    first = encode_function(space["f"])
    assert shared_node.run_encoded(first) == before
    exec(change, space)
    second = encode_function(space["f"])
    assert shared_node.run_encoded(second) == after
    assert first.digest != second.digest


def test_an_array_changed_in_place_arrives_anew() -> None:
    table = np.zeros(10_000)

    @compute
    def total() -> float:
        return float(table.sum())

    first = encode_function(total)
    assert encode_function(total) is first
    assert len(first.payload.buffers) == 1
    table[7] = 5
    second = encode_function(total)
    assert (arrived(first)(), arrived(second)()) == (0.0, 5.0)
    assert first.digest != second.digest


def test_an_array_changed_back_has_its_old_digest() -> None:
    table = np.zeros(10_000)
    function = compute(lambda: table.sum())
    digests = []
    for value in (0, 1, 0):
        table[0] = value
        digests.append(encode_function(function).digest)
    assert digests[0] == digests[2] != digests[1]


def test_rebinding_to_an_equal_value_sends_nothing_anew() -> None:
    space = script("N = 'ab' * 600\n@compute\ndef f(): return N")
    first = encode_function(space["f"])
    space["N"] = "".join(["ab"] * 600)
    assert encode_function(space["f"]) is first


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
                    | st.tuples(inner, inner), max_leaves=12), st.data())  # fmt: skip
def test_captured_data_arrives_as_it_is_at_each_call(value: Any, data: st.DataObject) -> None:
    space = script("@compute\ndef f(): return value", value=value)
    assert repr(run(space["f"])) == repr(value)
    targets = [part for part in _containers(value) if isinstance(part, (list, dict))]
    if targets:
        target = data.draw(st.sampled_from(targets))
        if isinstance(target, list):
            target.append(data.draw(st.integers()))
        else:
            target["new"] = data.draw(st.integers())
    else:
        space["value"] = data.draw(st.integers() | st.text())
    assert repr(run(space["f"])) == repr(space["value"])


def _containers(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, (list, tuple)) else []
    return ([value] if inner or isinstance(value, (list, dict)) else []) + [
        c for part in inner for c in _containers(part)
    ]


def test_recursion_and_mutual_recursion_work() -> None:
    space = script(
        "@compute\ndef fact(n): return 1 if n < 2 else n * fact.local(n - 1)\n"
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\n"
        "@compute\ndef f(n): return even(n)"
    )
    assert run(space["fact"], 5) == 120
    assert run(space["f"], 10) is True
    assert encode_function(space["f"]) is encode_function(space["f"])


def test_a_function_without_source_works() -> None:
    code = compile("lambda x: x + 1", "<nowhere>", "eval")
    assert run(compute(eval(code, {})), 1) == 2


def test_bound_methods_and_partials_work() -> None:
    space = script("class C:\n  def __init__(self, n): self.n = n\n  def add(self, x): return self.n + x")
    method = space["C"](3).add
    adder = functools.partial(int.__add__, 2)
    function = compute(lambda x: method(x) + adder(x))
    assert run(function, 1) == 7


def test_names_that_only_a_nested_class_body_reads_travel() -> None:
    space = script("BASE = 5\n@compute\ndef f():\n  class C:\n    v = BASE * 2\n  return C.v")
    assert run(space["f"]) == 10


def test_functions_that_share_globals_share_them_on_the_node() -> None:
    space = script("N = 0\ndef bump():\n  global N\n  N += 1\n@compute\ndef f():\n  bump()\n  return N")
    assert run(space["f"]) == 1


def test_a_function_of_a_module_made_by_hand_goes_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_by_hand")
    monkeypatch.setitem(sys.modules, "made_by_hand", module)
    exec("N = 4\ndef helper(): return N\nclass C: v = N", vars(module))
    helper, kind = module.helper, module.C
    function = compute(lambda: (helper(), kind.v))
    payload = encode_function(function).payload
    monkeypatch.delitem(sys.modules, "made_by_hand")
    assert pickling.loads(payload.data)() == (4, 4)


def test_a_function_that_modules_hold_goes_by_name() -> None:
    payload = encode_function(compute(functools.reduce)).payload
    assert b"reduce" in payload.data
    assert len(payload.data) < 60
    assert payload.modules == frozenset()


def test_a_captured_function_that_its_module_no_longer_has_goes_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    import textwrap

    space = script("@compute\ndef f(): return shorten('a b', 3)", shorten=textwrap.shorten)
    first = encode_function(space["f"])
    monkeypatch.setattr(textwrap, "shorten", None)
    assert encode_function(space["f"]).digest != first.digest


def test_an_encoded_function_keeps_nothing_alive() -> None:
    class Big:
        pass

    big = Big()
    space = script("@compute\ndef f(): return f, big", big=big)
    encode_function(space["f"])
    gone = [weakref.ref(big), weakref.ref(space["f"])]
    del big
    space.clear()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_threads_that_encode_while_a_global_changes_never_go_back() -> None:
    space = script("N = 0\n@compute\ndef f(): return N")
    errors: list[str] = []

    def encode() -> None:
        for _ in range(300):
            low = space["N"]
            got = run(space["f"])
            if not low <= got <= space["N"]:
                errors.append(f"{got} after {low}")

    threads = [threading.Thread(target=encode) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        space["N"] += 1
    assert not errors


@pytest.mark.parametrize(
    ("source", "path", "remedy"),
    [
        ("import threading\ndb = threading.Lock()\n@compute\ndef f(): return db",
         "'db' (a global of f)", "create it inside the function"),
        ("import threading\nconfig = {'a': [threading.Lock()]}\n@compute\ndef f(): return config",
         "'config'['a'][0] (a global of f)", "create it inside the function"),
        ("import socket\ndb = socket.socket()\ndb.close()\ndef g(): return db\n@compute\ndef f(): return g()",
         "'g' (a global of f) -> 'db' (a global of g)", "connect inside the function"),
        ("def make():\n  rows = (x for x in 'ab')\n  @compute\n  def f(): return rows\n  return f\nf = make()",
         "'rows' (a variable that f closes over)", "make a list of it"),
        ("import threading\n@compute\ndef f(x=threading.Event()): return x",
         "'x' (a default of f)", "create it inside the function"),
    ],
)  # fmt: skip
def test_a_captured_variable_that_cannot_be_pickled_is_named_with_a_remedy(source: str, path: str, remedy: str) -> None:
    with pytest.raises(SerializationError) as caught:
        encode_function(script(source)["f"])
    assert caught.value.path == path
    assert caught.value.message.startswith(f"{path}: cannot pickle")
    assert remedy in caught.value.message


def test_a_failed_encoding_can_be_repeated_after_the_culprit_is_gone() -> None:
    space = script("@compute\ndef f(): return db", db=threading.Lock())
    with pytest.raises(SerializationError):
        encode_function(space["f"])
    space["db"] = 3
    assert run(space["f"]) == 3


def test_a_large_captured_variable_is_named_once() -> None:
    space = script("def helper(): return table\n@compute\ndef f(): return helper()", table=np.zeros(1 << 18))
    with pytest.warns(SkywardWarning, match=r"f takes 'table' \(a global of helper, 2\.0 MiB\) along"):
        encode_function(space["f"])
    space["table"][0] = 1
    encode_function(space["f"])  # a second warning would be an error


@pytest.mark.filterwarnings("ignore::skyward.errors.SkywardWarning")
def test_a_large_closure_that_does_not_change_is_encoded_once() -> None:
    table = np.zeros(1 << 18)
    function = compute(lambda: table.sum())
    first = encode_function(function)
    assert all(encode_function(function) is first for _ in range(5))
    assert first.payload.size > table.nbytes


SPAWNED = """
import multiprocessing, pickle
from skyward._codec import encode_function
from skyward.function import compute

N = 6

def helper(): return N

@compute
def f(): return helper()

def child(queue):
    payload = encode_function(f).payload
    queue.put(payload.data)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    data = queue.get()
    process.join()
    print(data.hex())
"""


def test_the_script_of_a_spawned_process_goes_by_value(tmp_path: Path) -> None:
    script_file = tmp_path / "spawns.py"
    script_file.write_text(SPAWNED)
    out = subprocess.run([sys.executable, str(script_file)], check=True, capture_output=True, text=True).stdout
    assert pickling.loads(bytes.fromhex(out))() == 6
