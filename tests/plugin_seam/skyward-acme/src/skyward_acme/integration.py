"""The integration: it says on the node that a function has begun, and with which arguments."""

from __future__ import annotations

from typing import Any

import skyward as sky
from skyward.spi import Integration

__all__ = ["acme"]


def acme(greeting: str = "hello from") -> Integration:
    """Make the integration: a decorator, or a value for ``plugins=[...]``."""

    def apply(function: sky.ComputeFunction[..., Any]) -> sky.ComputeFunction[..., Any]:
        return sky.ComputeFunction(Greeted(greeting, function.local))

    return apply


class Greeted:
    """A function with its greeting. Its class is found by name on the node, where the plugin's package is as well."""

    def __init__(self, greeting: str, function: Any) -> None:
        self.greeting = greeting
        self.function = function
        self.__name__ = function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Greet, then run."""
        print(self.greeting, self.__name__, flush=True)
        return self.function(*args, **kwargs)
