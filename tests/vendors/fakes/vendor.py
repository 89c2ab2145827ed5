"""A vendor's fake as the conformance kit sees it: what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from skyward.testing import Fault

from .server import VendorServer

__all__ = ["FakeVendor"]


class FakeVendor[S: VendorServer]:
    """What the kit may do to a server; see `skyward.testing.Vendor`, whose other methods a vendor's own class has.

    Attributes:
        create: the calls that make a machine, as `Faults` takes them.
        delete: those that end one.
        counted: what the server counts down: in ``slow`` and ``stuck``, machines to come that boot slowly, or never.
        broken: the status of an error of the vendor's own.
        refusals: how it answers otherwise, as arguments of `Faults.fail`: when it is asked too often, when there is
            nothing of what is ordered, when that is more than the account may have.
    """

    create: ClassVar[str]
    delete: ClassVar[str]
    counted: ClassVar[tuple[str, ...]] = ("slow", "stuck")
    broken: ClassVar[int] = 500
    refusals: ClassVar[Mapping[Fault, Mapping[str, Any]]]

    def __init__(self, server: S) -> None:
        self.server = server

    @property
    def faults(self) -> Collection[Fault]:
        """All, but that nobody else can answer in the place of a machine that is only pretended."""
        return frozenset(Fault) - {Fault.WRONG_HOST_KEY}

    def plays(self, times: int) -> dict[Fault, Callable[[], None]]:
        """What has each fault befall the next ``times`` calls."""
        script, refusals = self.server.faults, self.refusals
        sold_out = refusals[Fault.NO_CAPACITY]
        return {
            Fault.LOST_REPLY: lambda: script.lose(self.create, times=times),
            Fault.ERROR_AFTER_CREATE: lambda: script.fail_after(self.create, self.broken, times=times),
            Fault.ERROR_BEFORE_CREATE: lambda: script.fail(self.create, self.broken, times=times),
            Fault.THROTTLED: lambda: script.fail("*", 429, **refusals.get(Fault.THROTTLED, {}), times=times),
            Fault.NO_CAPACITY: lambda: script.fail(self.create, **sold_out, times=times),
            Fault.QUOTA: lambda: script.fail(self.create, **refusals[Fault.QUOTA], times=times),
            Fault.REFUSED_CREDENTIALS: lambda: script.fail("*", 401, times=times),
            Fault.PARTIAL: lambda: script.fail(self.create, **sold_out, times=times, after=1),
            Fault.TERMINATE_FAILS: lambda: script.fail(self.delete, 500, times=times),
            Fault.SLOW_BOOT: lambda: self.count(slow=times),
            Fault.STUCK: lambda: self.count(stuck=times),
        }

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        self.plays(times)[fault]()

    def count(self, **more: int) -> None:
        """Add to what the server counts down."""
        with self.server.lock:
            for name, times in more.items():
                setattr(self.server, name, getattr(self.server, name) + times)

    def creates(self) -> int:
        return len(self.server.asked(self.create))

    def belongings(self) -> Collection[str]:
        return ()

    def reset(self) -> None:
        self.server.faults.clear()
        with self.server.lock:
            for name in self.counted:
                setattr(self.server, name, 0)
