"""What a checker knows of the integrations of this project's own packages, where they are installed. Never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

import skyward as sky
from skyward_sklearn import JoblibPool, ScikitLearnPool


def add(a: int, b: int) -> float:
    return a + b


def pools() -> None:
    with sky.integrations.JoblibPool(sky.AWS(), nodes=4, concurrency=4, joblib_version="1.6.0") as pool:
        assert_type(pool, JoblibPool)
        assert_type(sky.compute(add)(1, 2) >> pool, float)
    with sky.plugins.ScikitLearnPool(provider=sky.Local(), sklearn_version=None, display="quiet") as other:
        assert_type(other, ScikitLearnPool)


async def asynchronous() -> None:
    async with sky.integrations.JoblibPool() as pool:
        assert_type(pool, JoblibPool)


def given_to_pools() -> None:
    sky.ComputePool(plugins=[sky.integrations.joblib(), sky.integrations.sklearn(sklearn_version="1.9.1")])
    sky.ComputePool(plugins=[sky.integrations.joblib, sky.integrations.sklearn])


def decorating() -> None:
    function = sky.compute(add)
    above = sky.integrations.joblib(function)
    assert_type(above(1, b=2), sky.PendingCompute[float])
    below = sky.integrations.sklearn()(add)
    assert_type(below(1, b=2), sky.PendingCompute[float])
    above(1, "2")  # type: ignore[arg-type]
    bare = sky.integrations.torch(add)
    assert_type(bare(1, b=2), sky.PendingCompute[float])
    called = sky.integrations.torch(backend="nccl", timeout=60)(function)
    assert_type(called.local(1, 2), float)
    called("1", 2)  # type: ignore[arg-type]
    assert_type(sky.integrations.jax(cuda=13)(function).local(1, 2), float)
    assert_type(sky.integrations.keras(backend="torch")(add)(1, b=2), sky.PendingCompute[float])


def around_an_open_pool(pool: sky.ComputePool) -> None:
    with sky.integrations.joblib_backend(pool) as given:
        assert_type(given, sky.ComputePool)
    with sky.integrations.sklearn_backend(pool) as same:
        assert_type(same, sky.ComputePool)


def misused(pool: sky.ComputePool) -> None:
    sky.integrations.JoblibPool(sklearn_version="1.9.1")  # type: ignore[call-arg]
    sky.integrations.ScikitLearnPool(nodes="two")  # type: ignore[arg-type]
    sky.integrations.joblib(sklearn_version="1.9.1")  # type: ignore[call-overload]
    sky.integrations.torch(backends="nccl")  # type: ignore[call-overload]
    sky.integrations.no_such_integration()  # type: ignore[attr-defined]
    sky.integrations.joblib_backend()  # type: ignore[call-arg]
