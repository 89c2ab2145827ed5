"""What all conformance classes share: how a rule fails, is skipped, and may be departed from."""

from __future__ import annotations

import copy
import pickle
import unittest
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from skyward.errors import ConfigurationError

__all__ = ["Broken", "Conformance", "check", "check_value", "deviates", "skip"]

_REASON = "__skyward_deviation__"


class Broken(AssertionError):
    """A rule of a contract is broken. The message says the fact, then what to do."""


def check(holds: object, message: str) -> None:
    """Raise :class:`Broken` unless ``holds`` is true."""
    __tracebackhide__ = True
    if not holds:
        raise Broken(message)


def skip(reason: str) -> NoReturn:
    """Skip the running test; by pytest where it is installed."""
    __tracebackhide__ = True
    try:
        import pytest
    except ImportError:
        raise unittest.SkipTest(reason) from None
    pytest.skip(reason)


def deviates[F: Callable[..., Any]](reason: str) -> Callable[[F], F]:
    """Mark a test that takes the place of one of the kit, with the reason why the rule does not hold as it stands.

        @deviates("Acme keeps a machine's name for an hour after its end, as its documentation says")
        def test_ended_machines_are_listed_no_more(self, provider): ...

    Raises:
        ConfigurationError: there is no reason.
    """
    if not reason.strip():
        raise ConfigurationError("the reason of a deviation is empty; say why the rule does not hold")

    def mark(test: F) -> F:
        setattr(test, _REASON, reason)
        return test

    return mark


class Conformance:
    """Base of the conformance classes.

    A subclass that overrides a ``test_*`` of the kit without :func:`deviates` is refused with ``ConfigurationError``,
    as soon as it is defined.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = __name__.rpartition(".")[0]
        line = cls.__mro__
        tests = {name for base in line if _of_kit(base, own) for name in vars(base) if name.startswith("test_")}
        for name in sorted(tests):
            first = next(base for base in line if name in vars(base))
            if not _of_kit(first, own) and not getattr(vars(first)[name], _REASON, None):
                raise ConfigurationError(
                    f"{first.__qualname__} overrides {name} of the conformance kit without a reason; put "
                    f'@deviates("why the rule does not hold") above it, or remove it'
                )


def _of_kit(base: type, package: str) -> bool:
    return base.__module__.startswith(f"{package}.")


def check_value(value: object, what: str) -> None:
    """Check that a value is hashable, pickles, and equals the copy that comes out of the pickle."""
    __tracebackhide__ = True
    try:
        mark = hash(value)
    except TypeError as error:
        raise Broken(
            f"{what} cannot be hashed ({error}); make its class a frozen value, such as attrs' @frozen"
        ) from error
    try:
        twin = pickle.loads(pickle.dumps(value))
    except Exception as error:
        raise Broken(
            f"{what} does not pickle ({type(error).__name__}: {error}); keep plain values in it, and open clients later"
        ) from error
    check(
        twin == value and hash(twin) == mark,
        f"{what} does not equal its own copy after pickling; compare by value: use attrs' @frozen, without eq=False",
    )


def unchanged(before: Sequence[object], after: Sequence[object], what: str) -> None:
    """Check that arguments are as a deep copy of them, made before, says."""
    __tracebackhide__ = True
    check(list(before) == list(after), f"{what} changed its arguments; build new values and leave those as they are")


def copied(*values: object) -> list[object]:
    """Deep copies for :func:`unchanged`."""
    return [copy.deepcopy(value) for value in values]
