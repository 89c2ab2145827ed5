"""What a pool's parameters are refused for, before anything is bought."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

import skyward as sky


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"nodes": 0}, "nodes is 0; give at least 1"),
        ({"nodes": -2}, "nodes is -2; give at least 1"),
        ({"nodes": 1.5}, "nodes is 1.5; give a whole number from 1"),
        ({"nodes": "2"}, "nodes is '2'; give a whole number from 1"),
        ({"nodes": True}, "nodes is True; give a whole number"),
        ({"nodes": None}, "nodes is None; give a whole number"),
        ({"concurrency": 0}, "concurrency is 0; give at least 1"),
        ({"concurrency": "many"}, "concurrency is 'many'; give a whole number"),
        ({"node": 2}, "no parameter 'node': did you mean 'nodes'"),
        ({"concurency": 2}, "no parameter 'concurency': did you mean 'concurrency'"),
        ({"gpu": "A100"}, "no parameter 'gpu'"),
        ({"max_workers": 2}, "no parameter 'max_workers': as many .* give nodes=... and concurrency=..."),
        ({"n_jobs": -1}, "no parameter 'n_jobs': as many .* give nodes=... and concurrency=..."),
        ({"initializer": print}, r"no parameter 'initializer': give .* by image=sky\.Image"),
        ({"provider": sky.Local}, r"provider is the class Local; call it: sky\.Local\(\)"),
        ({"provider": "local"}, "provider is the string 'local'; give a provider"),
        ({"provider": []}, "provider is an empty list"),
        ({"provider": [sky.Local(), 3]}, "provider is 3, which is none"),
        ({"provider": 4}, "provider is 4, which is none"),
        ({"selection": "fist"}, "selection='fist' does not exist: did you mean 'first'"),
        ({"selection": 3}, "selection is 3; give 'first', 'cheapest', 'available' or a function"),
        ({"image": "python:3.13"}, "image is 'python:3.13'; give one such as sky.Image"),
        ({"image": sky.Image}, "image is <class .*; give one such as sky.Image"),
        ({"machine": 5}, "machine is 5; give the provider's name of a machine"),
        ({"machine": ""}, "machine is ''; give the provider's name of a machine"),
        ({"accelerator": "A10O"}, "unknown accelerator 'A10O'; did you mean .*'A100'"),
        ({"accelerator": 100}, "accelerator is 100; give a name such as 'A100'"),
        ({"cpu": 0}, "cpu is 0; give at least 1"),
        ({"cpu": 0.5}, "cpu is 0.5; give a whole number"),
        ({"memory": "32"}, "memory '32' has no unit"),
        ({"memory": 32}, "memory '32' has no unit"),
        ({"memory": "much"}, "'much' is not an amount of memory"),
        ({"volume": "/data"}, "volume is '/data'; give one such as sky.S3Volume"),
        ({"volume": [3]}, "volume is 3; give one such as sky.S3Volume"),
        ({"allocation": "spott"}, "allocation='spott' does not exist: did you mean 'spot'"),
        ({"allocation": 1.5}, "give a fraction from 0 to 1"),
        ({"allocation": "spot"}, "allocation 'spot' asks for spot machines, and Local sells none"),
        ({"allocation": None}, "allocation is None; give one of"),
        ({"timeout": 0}, "timeout is 0; give a positive number of seconds, or None for no limit"),
        ({"timeout": "1h"}, "timeout is '1h'; give a positive number of seconds"),
        ({"timeout": float("nan")}, "timeout is nan; give a positive number"),
        ({"env": ["A=1"]}, "env is of type list; give a mapping"),
        ({"env": {"A": 1}}, r"env\['A'\] is of type int; give a string"),
        ({"env": {"A=B": "1"}}, "env has the name 'A=B'"),
        ({"env": {"": "1"}}, "env has the name ''"),
        ({"env": {1: "1"}}, "env has the name 1"),
        ({"env": {"A": "zero \0"}}, "has a zero byte"),
        ({"display": "loud"}, "display is 'loud'"),
        ({"display": "Log"}, "display is 'Log': did you mean 'log'"),
        ({"display": None}, "display is None"),
        ({"on_event": 3}, "on_event is 3; give a function that takes an event"),
        ({"collect_metrics": "yes"}, "collect_metrics is 'yes'; give True or False"),
        ({"provision_timeout": -1}, "provision_timeout is -1; give a positive number of seconds"),
        ({"provision_timeout": None}, "provision_timeout is None; give a positive number of seconds"),
        ({"lease": 0}, "lease is 0; give a positive number of seconds, or None to outlive the client"),
        ({"lease": "long"}, "lease is 'long'; give a positive number of seconds"),
        ({"plugins": [3]}, "plugins has 3; give integrations"),
        ({"plugins": 3}, "plugins has 3; give integrations"),
    ],
)
@pytest.mark.parametrize("make", [sky.ComputePool, sky.Executor, sky.pool], ids=["ComputePool", "Executor", "pool"])
def test_what_cannot_work_is_refused_with_what_to_write(make: Any, parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=sentence) as caught:
        make(**parameters)
    assert isinstance(caught.value, ValueError)


def test_a_selector_that_would_have_to_be_awaited_is_refused() -> None:
    async def choose(providers: Any, spec: Any) -> Any:
        return providers[0]

    with pytest.raises(sky.ConfigurationError, match="coroutine function choose; give a plain one"):
        sky.ComputePool(selection=choose)


def test_whole_numbers_of_other_libraries_are_numbers() -> None:
    import numpy as np

    assert sky.ComputePool(nodes=np.int64(3)).nodes == 3  # type: ignore[arg-type]
    with pytest.raises(sky.ConfigurationError):
        sky.ComputePool(nodes=Fraction(3, 1))  # type: ignore[arg-type]


def test_all_parameters_may_be_given_at_once() -> None:
    pool = sky.ComputePool(
        provider=[sky.Local(), sky.Local()],
        selection="cheapest",
        image=sky.Image(),
        nodes=2,
        machine="process",
        accelerator="A100",
        cpu=1,
        memory="1GB",
        volume=None,
        allocation=0.5,
        timeout=60,
        env={"NAME": "value"},
        concurrency=2,
        display="spinner",
        on_event=print,
        collect_metrics=False,
        provision_timeout=60,
        lease=20,
        plugins=[],
    )
    assert (pool.nodes, pool.concurrency) == (2, 2)


def test_a_machine_that_the_provider_does_not_have_is_refused_when_the_pool_is_entered(provider: Any) -> None:
    pool = sky.ComputePool(provider, cpu=1_000_000, display="quiet")
    with pytest.raises(sky.NoAvailableProviderError, match="1000000 CPUs"), pool:
        pass


def test_a_selector_of_the_users_own_is_asked(double: Any) -> None:
    asked: list[Any] = []

    def choose(providers: Any, spec: sky.ComputeSpec) -> Any:
        asked.append((len(providers), spec.nodes, providers[1].name))
        return providers[1]

    with sky.ComputePool([sky.Local(), sky.Local()], selection=choose, display="quiet") as pool:
        assert double(1) >> pool == 2
    assert asked == [(2, 1, "Local")]
