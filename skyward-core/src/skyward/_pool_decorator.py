"""``@sky.pool``: a pool for the time of a function call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack, cast

from skyward._pool import ComputePool
from skyward.errors import ConfigurationError

if TYPE_CHECKING:
    from skyward._options import ProviderLike
    from skyward._parameters import PoolParameters

__all__ = ["pool"]


def pool[**P, R](
    provider: ProviderLike | None = None, **parameters: Unpack[PoolParameters]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run the decorated function inside a pool of its own, made anew for each call; inside, dispatch with ``>> sky``.

    Takes the parameters of :class:`ComputePool`, which are checked at once. The function itself runs here, on the
    client; a coroutine function gets an asynchronous pool.

    Raises:
        ConfigurationError: as of ``ComputePool``.
    """
    _refuse_function(provider)

    def make() -> ComputePool:
        return ComputePool(provider, **parameters)

    make()  # bad input is refused where it is written

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if hasattr(function, "__skyward_local__"):
            raise ConfigurationError(
                "@sky.pool stands above @sky.compute: the function of @sky.pool runs here and dispatches to nodes, the "
                "one of @sky.compute runs there; make two functions of it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_async_pool(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with make():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", in_async_pool)  # a coroutine function in, one out

        @functools.wraps(function)
        def in_pool(*args: P.args, **kwargs: P.kwargs) -> R:
            with make():
                return function(*args, **kwargs)

        return in_pool

    return decorate


def _refuse_function(provider: object) -> None:
    if callable(provider) and not isinstance(provider, type) and not hasattr(provider, "capabilities"):
        raise ConfigurationError("@sky.pool needs parentheses: write @sky.pool() or @sky.pool(nodes=4)")
