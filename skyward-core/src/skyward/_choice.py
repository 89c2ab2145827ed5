"""What a user chose for a pool, and how a mistake in it is reported: whose it is decides."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from attrs import frozen

from skyward._asking import bug, distribution
from skyward.errors import ConfigurationError, SkywardError

__all__ = ["Choice"]


@frozen
class Choice[T]:
    """A strategy of some kind.

    Attributes:
        value: the selector or the allocation.
        name: the name by which it was chosen; ``None`` for an object that the user handed over.
    """

    value: T
    name: str | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return str(self.name or getattr(self.value, "name", None) or getattr(self.value, "__name__", self.value))

    @property
    def is_foreign(self) -> bool:
        """Whether it comes from a plugin, and is not the user's own."""
        return self.name is not None or distribution(self.value) is not None

    @contextlib.contextmanager
    def asked(self, what: str) -> Generator[None]:
        """Around a call of it: an exception in a plugin's is reported as its bug, one in the user's own as it is."""
        try:
            yield
        except SkywardError:
            raise
        except Exception as error:
            if self.is_foreign:
                raise bug(self.value, what, error) from error
            raise

    def wrong(self, what: str, said: str, remedy: str) -> SkywardError:
        """The error for an answer that breaks the contract."""
        if self.is_foreign:
            return bug(self.value, what, said)
        return ConfigurationError(f"{self.title!r} returned {said}; {remedy}")
