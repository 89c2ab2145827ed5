"""The rules of an integration: an example keeps them, and each is broken by an integration that the kit catches."""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conformance_teeth import assert_bites, rules_of

import skyward as sky
from skyward.spi import Integration
from skyward.testing.conformance import IntegrationConformance
from skyward.testing.conformance._beside import BesideRules

type Function = sky.ComputeFunction[..., Any]


def counted(function: Any) -> Function:
    """An integration as it should be: notes each call in an event of its own."""
    function = sky.compute(function)
    run = function.local

    @functools.wraps(run)
    def around(*args: Any, **kwargs: Any) -> Any:
        return run(*args, **kwargs)

    return sky.ComputeFunction(around, function.retry, function.together)


class TestAnExample(IntegrationConformance):
    @pytest.fixture
    def integration(self) -> Integration:
        return counted


class TestNoneAtAll(IntegrationConformance):
    """The least that there can be."""

    @pytest.fixture
    def integration(self) -> Integration:
        return sky.compute


# ---- integrations that break one rule each ---------------------------------------------------------------------------


def wrapped(before: Callable[[Any], object] | None = None) -> Callable[[Any], Function]:
    """``counted`` with something done when it is applied."""

    def integration(function: Any) -> Function:
        if before is not None:
            before(function)
        return counted(function)

    return integration


def undecorated(function: Any) -> Any:
    return functools.wraps(function.local)(lambda *args, **kwargs: function.local(*args, **kwargs))


def apart(function: Any) -> Function:
    return sky.compute(retry=function.retry)(counted(function).local)


def eager(function: Any) -> Function:
    import numpy as np  # noqa: F401

    return counted(function)


def hopeful(function: Any) -> Function:
    with contextlib.suppress(ImportError):
        import numpy as np  # noqa: F401
    return counted(function)


def connecting(function: Any) -> Function:
    with socket.socket():
        return counted(function)


def bare(function: Any) -> Function:
    run = sky.compute(function).local

    def around(*args: Any, **kwargs: Any) -> Any:
        """Calls it."""
        return run(*args, **kwargs)

    return sky.compute(around)


def once(function: Any) -> Function:
    """Forgets how often a call may be run again."""
    return sky.compute(counted(function).local)


def positional(function: Any) -> Function:
    """Loses the defaults and the names of the arguments."""
    run = sky.compute(function).local
    return sky.compute(functools.wraps(run)(lambda *args: run(*args)))


def talkative(function: Any) -> Function:
    run = sky.compute(function).local
    return sky.compute(functools.wraps(run)(lambda *args, **kwargs: print("ran", run(*args, **kwargs))))


def swallowing(function: Any) -> Function:
    run = sky.compute(function).local

    @functools.wraps(run)
    def around(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except Exception:
            return None

    return sky.compute(around)


def translating(function: Any) -> Function:
    run = sky.compute(function).local

    @functools.wraps(run)
    def around(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except Exception as error:
            raise RuntimeError("the task failed") from error

    return sky.compute(around)


class Shared:
    """Keeps the last function in itself instead of in what it returns."""

    def __call__(self, function: Any) -> Function:
        self.run = sky.compute(function).local
        return sky.compute(functools.wraps(self.run)(lambda *args, **kwargs: self.run(*args, **kwargs)))


def in_place(function: Any) -> Function:
    function.fn = counted(function).local
    result: Function = function
    return result


def single(function: Any) -> Any:
    """Refuses what it has been put around already."""
    if getattr(function, "mine", False):
        return None
    applied = counted(function)
    applied.mine = True  # type: ignore[attr-defined]
    return applied


def above_only(function: Any) -> Function:
    return counted(sky.compute(function.local))


def holding(function: Any) -> Function:
    """Takes something along that is bound to this process."""
    run, lock = sky.compute(function).local, threading.Lock()

    @functools.wraps(run)
    def around(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return run(*args, **kwargs)

    return sky.compute(around)


def at_home(function: Any) -> Function:
    """Runs here and not on a node."""
    run = sky.compute(function).local

    @functools.wraps(run)
    def around(*args: Any, **kwargs: Any) -> Any:
        try:
            sky.instance_info()
        except sky.UsageError:
            return run(*args, **kwargs)
        return "on a node"

    return sky.compute(around)


MUTANTS: list[tuple[str, Any, str]] = [
    ("test_it_gives_a_compute_function", undecorated, "returned function; return a compute function"),
    ("test_applying_it_imports_no_framework", eager, "imports numpy; import it inside"),
    ("test_applying_it_imports_no_framework", hopeful, "imports numpy; import it inside"),
    ("test_applying_it_is_cheap", connecting, "opens a socket; do that inside"),
    (
        "test_name_documentation_and_signature_are_kept",
        bare,
        "name of the function was 'total' and is 'around' .*; put",
    ),
    ("test_retry_is_kept", once, "retry=3 has retry=0 .*; hand it on"),
    ("test_together_is_kept", apart, "together=True has together=False .*; hand it on"),
    ("test_local_keeps_working", talkative, r"total.local\(2, 3\) gave None .*; pass arguments and result on"),
    ("test_what_the_function_raises_comes_out_as_it_is", swallowing, "and nothing came out; let"),
    ("test_what_the_function_raises_comes_out_as_it_is", translating, r"RuntimeError\(.* came out; let"),
    ("test_each_function_keeps_its_own_result", Shared(), r"total.local\(4, 5\), applied to before product, gave 20"),
    ("test_the_function_itself_is_left_as_it_is", in_place, "changed the function that it was given; return a new one"),
    ("test_it_can_be_applied_twice", single, "returned NoneType; return"),
    ("test_it_serves_above_and_below_compute", above_only, "raised AttributeError: .*; begin with"),
    ("test_the_applied_function_pickles", holding, "does not pickle .*; keep plain values"),
    ("test_it_runs_on_a_node_as_a_decorator", at_home, "gave 'on a node' under the integration"),
    ("test_it_runs_on_a_node_as_a_plugin_of_the_pool", at_home, "gave 'on a node' under the integration"),
]


@pytest.mark.parametrize(("test", "integration", "says"), MUTANTS)
def test_an_integration_that_breaks_the_rule_is_caught(test: str, integration: Integration, says: str) -> None:
    assert_bites(IntegrationConformance(), test, integration, says)


def test_losing_the_names_of_arguments_is_an_error_of_its_own() -> None:
    with pytest.raises(TypeError, match="second"):
        IntegrationConformance().test_local_keeps_working(positional)


def test_every_rule_has_an_integration_that_breaks_it() -> None:
    beside = rules_of(BesideRules)  # whose mutants stand in test_conformance_beside.py
    assert rules_of(IntegrationConformance) - beside == {test for test, _, _ in MUTANTS}


def test_modules_that_were_hidden_while_it_was_applied_are_there_again() -> None:
    import numpy as np

    IntegrationConformance().test_applying_it_imports_no_framework(counted)
    assert sys.modules["numpy"] is np
    assert sys.modules["numpy.linalg"] is np.linalg
    assert "jax" not in sys.modules
