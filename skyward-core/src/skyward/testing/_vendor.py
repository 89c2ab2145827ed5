"""A fake cloud in the place of a vendor's server, for the conformance kit."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from skyward.errors import AuthenticationFailed, QuotaExceeded, Transient, Unavailable
from skyward.testing._faults import Fault
from skyward.testing._script import After

if TYPE_CHECKING:
    from skyward.testing._backend import Backend

__all__ = ["FakeVendor"]

_SLOW = 10.0
"""Seconds that a slow boot takes longer than another one."""

_CALLS: dict[Fault, tuple[str, Callable[[], object]]] = {
    Fault.LOST_REPLY: ("launch", lambda: After(Transient("the connection was cut before the answer: try again"))),
    Fault.ERROR_AFTER_CREATE: ("launch", lambda: After(Transient("the server failed (500): try again"))),
    Fault.ERROR_BEFORE_CREATE: ("launch", lambda: Transient("the server failed (500): try again")),
    Fault.THROTTLED: ("*", lambda: Transient("one request too many (429): try again later", retry_after=1.0)),
    Fault.NO_CAPACITY: ("launch", lambda: Unavailable("sold out a moment ago: try another offer")),
    Fault.QUOTA: ("launch", lambda: QuotaExceeded("the account's limit is reached: ask for more", quota="machines")),
    Fault.REFUSED_CREDENTIALS: ("*", lambda: AuthenticationFailed("the key is refused: set FAKE_API_KEY")),
    Fault.TERMINATE_FAILS: ("terminate", lambda: Transient("the server failed (500): try again")),
}
"""By the fault: the session's call that it befalls, and what the call does then."""


class FakeVendor:
    """A `FakeCloud` as the kit's ``Vendor``. It is ``FakeCloud.vendor``, and is not made by hand.

    Its sessions are what a sound provider would make of a vendor's faults: an order whose answer was lost raises
    ``Transient``, and ``list_owned`` finds the machine.

    Attributes:
        faults: all but ``WRONG_HOST_KEY``.
    """

    faults: Collection[Fault] = frozenset(Fault) - {Fault.WRONG_HOST_KEY}

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._secret = secrets.token_hex(16)
        self._scripted: list[object] = []

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        """Have this befall the next calls, or machines."""
        slow = _SLOW + (self._backend.boot_seconds or 0.0)
        if fault is Fault.SLOW_BOOT:
            self._backend.boots.extend([slow] * times)
        elif fault is Fault.STUCK:
            self._backend.boots.extend([None] * times)
        elif fault is Fault.PARTIAL:
            self._backend.short += times
        else:
            method, make = _CALLS[fault]
            entries = [make() for _ in range(times)]
            self._scripted += entries
            self._backend.script(method, *entries)

    def end(self, name: str, /) -> None:
        """Have a machine end by itself."""
        self._backend.terminate([name], "lost")

    def creates(self) -> int:
        """How often ``launch`` has been called."""
        return sum(method == "launch" for method, _ in self._backend.calls)

    def existing(self) -> Collection[str]:
        """The machines that cost money."""
        self._backend.expire()
        return [record.id for record in self._backend.living()]

    def belongings(self) -> Collection[str]:
        """None: its pools have machines alone."""
        return ()

    def secrets(self) -> Collection[str]:
        """A key that nobody needs."""
        return (self._secret,)

    def reset(self) -> None:
        """Forget what has not happened yet. What the test has scripted itself stays."""
        self._backend.boots.clear()
        self._backend.short = 0
        for queue in self._backend.script.values():
            queue[:] = [entry for entry in queue if not any(entry is own for own in self._scripted)]
        self._scripted.clear()
