"""Mistakes that are met with a sentence that tells the remedy."""

from __future__ import annotations

from typing import Any

import pytest

import skyward as sky


def test_the_precedence_trap_runs_nothing_and_shows_the_parentheses(
    pool: sky.ComputePool, listen: Any, double: Any
) -> None:
    seen = listen(pool)
    with pytest.raises(TypeError, match=r"write `\(double\(\.\.\.\) & double\(\.\.\.\)\) >> pool`"):
        double(1) & double(2) >> pool
    with pytest.raises(TypeError, match="bind tighter"):
        double(1) & double(2) @ pool
    assert seen.of(sky.TaskStarted) == []


def test_a_pending_is_neither_true_nor_iterable(double: Any) -> None:
    with pytest.raises(TypeError, match=r"has not run yet.*`result = double\(\.\.\.\) >> pool`"):
        bool(double(1))
    with pytest.raises(TypeError, match="cannot be iterated"):
        list(double(1))
    with pytest.raises(TypeError, match="cannot be iterated"):
        list(double(1) & double(2))


def test_a_call_that_is_never_dispatched_warns(double: Any) -> None:
    with pytest.warns(sky.SkywardWarning, match=r"double\(\.\.\.\) was never dispatched"):
        double(1)


def test_what_is_no_target_is_refused(double: Any) -> None:
    for target in (None, 3, "pool", sky.Local()):
        with pytest.raises(TypeError, match="must be a pool"):
            double(1) >> target
        with pytest.raises(TypeError, match="must be a pool"):
            double(1) @ target
        with pytest.raises(TypeError, match="must be a pool"):
            sky.gather(double(1)) >> target  # type: ignore[operator]


def test_a_pool_class_instead_of_a_pool_is_refused(double: Any) -> None:
    with pytest.raises(TypeError, match="must be a pool"):
        double(1) >> sky.ComputePool


def test_a_batch_cannot_be_broadcast(pool: sky.ComputePool, double: Any) -> None:
    with pytest.raises(TypeError, match="a batch cannot be broadcast"):
        (double(1) & double(2)) @ pool


def test_the_methods_refuse_what_is_no_call(pool: sky.ComputePool, double: Any) -> None:
    methods: list[Any] = [pool.run, pool.broadcast, pool.submit]
    for method in methods:
        with pytest.raises(TypeError, match=r"call it, `double\(\.\.\.\) >> pool`"):
            method(double)
        with pytest.raises(TypeError, match=r"pool\.run_batch"):
            method(double(1) & double(2))
        with pytest.raises(TypeError, match="is no call of a compute function"):
            method(3)
    with pytest.raises(TypeError, match="is no batch of calls"):
        pool.run_batch([double])  # type: ignore[arg-type]


def test_gather_of_a_list_says_to_unpack_it(double: Any) -> None:
    with pytest.raises(TypeError, match=r"unpack it, `gather\(\*calls\)`"):
        sky.gather([double(1)])  # type: ignore[call-overload]


def test_wrong_arguments_are_refused_where_the_call_is_written(double: Any) -> None:
    with pytest.raises(TypeError, match="x"):
        double()
    with pytest.raises(TypeError, match="y"):
        double(1, y=2)


def test_a_coroutine_function_and_a_generator_function_are_refused() -> None:
    with pytest.raises(sky.ConfigurationError, match="coroutine function"):

        @sky.compute
        async def later() -> None: ...

    with pytest.raises(sky.ConfigurationError, match="generator function"):

        @sky.compute
        def one_by_one() -> Any:
            yield 1


def test_the_decorator_pool_without_parentheses_is_refused() -> None:
    with pytest.raises(sky.ConfigurationError, match=r"needs parentheses: write @sky\.pool\(\)"):

        @sky.pool  # type: ignore[arg-type]
        def main() -> None: ...


def test_the_decorator_pool_above_a_compute_function_is_refused() -> None:
    with pytest.raises(sky.ConfigurationError, match="runs here"):

        @sky.pool()
        @sky.compute
        def main() -> None: ...


def test_a_misspelt_name_is_answered_with_the_near_ones() -> None:
    with pytest.raises(AttributeError, match="did you mean 'ComputePool'"):
        sky.ComputPool  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'compute'"):
        sky.computer  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'gather'"):
        sky.gathr  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError):
        sky._no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(sky, "nothing_of_this_kind")


def test_a_provider_that_is_not_there_names_its_package() -> None:
    with pytest.raises(sky.PluginNotInstalled, match="skyward-runpod") as caught:
        sky.RunPod  # noqa: B018
    assert isinstance(caught.value, ImportError)
    with pytest.raises(ImportError, match="skyward-verda"):
        from skyward import Verda  # noqa: F401
    with pytest.raises(ImportError, match="skyward-torch"):
        sky.integrations.torch  # noqa: B018
    with pytest.raises(AttributeError, match=r"sky\.integrations\.toch does not exist"):
        sky.integrations.toch  # type: ignore[attr-defined]  # noqa: B018


NAMES = """
    from importlib import metadata
    every = list(metadata.distributions())
    own = [found for found in every if found.name == "skyward-core" or not found.name.startswith("skyward-")]
    metadata.distributions = lambda: own
    import skyward as sky
    try:
        from skyward import RunPod
    except ImportError as error:
        print(type(error).__name__, error)
    try:
        sky.RunPod
    except ImportError as error:
        print(type(error).__name__, error)
    try:
        from skyward import ComputPool
    except ImportError as error:
        print(type(error).__name__)
    print("ComputePool" in dir(sky), hasattr(sky, "Nonsense"))
    from skyward import *
    print(ComputePool is sky.ComputePool)
"""


def test_without_plugins_the_names_of_the_first_party_say_what_to_install(script: Any) -> None:
    fact = "sky.RunPod is provided by skyward-runpod, which is not installed"
    sentence = f"PluginNotInstalled {fact}: pip install skyward-runpod"
    lines = script(NAMES, env={"SKYWARD_DISABLE_PLUGINS": ""}).stdout.splitlines()
    assert lines == [sentence, sentence, "ImportError", "True False", "True"]


def test_a_pool_in_a_pending_or_a_pending_in_a_call_is_refused(pool: sky.ComputePool, double: Any) -> None:
    with pytest.raises(sky.SerializationError, match="a pool lives on the client only"):
        double(pool) >> pool
    with pytest.raises(sky.SerializationError, match="a pending call is no result; dispatch it"):
        double(double(1)) >> pool
