"""What the parts of ``ProviderConformance`` share: the author's settings, and the form of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from attrs import evolve

from skyward import _clock
from skyward.model.image import Image
from skyward.model.spec import ComputeSpec
from skyward.spi.provider import Provider
from skyward.testing._faults import Fault, Vendor
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._kit import Conformance, skip

__all__ = ["ProviderRules", "needs", "on_loop", "playing", "served"]


class ProviderRules(Conformance):
    """What an author may set.

    Attributes:
        patience: seconds of the loop that one call may take, and that a machine may take to run or to be gone.
        longest_pause: seconds between two looks, at most.
        cancellations: how many moments of a call are tried for a cancellation, at most. Each buys a machine.
        short_life: seconds of life after which a machine can be seen to end itself. ``None`` leaves the test out.
        short_lease: seconds of lease, likewise.
        owner: who the test's pools belong to.
        sdks: top-level modules that the settings must not import.
    """

    patience: float = 120.0
    longest_pause: float = 2.0
    cancellations: int = 12
    short_life: float | None = None
    short_lease: float | None = None
    owner: str = "conformance@localhost"
    sdks: Collection[str] = (
        "aiohttp",
        "asyncssh",
        "boto3",
        "botocore",
        "docker",
        "google",
        "httpx",
        "kubernetes",
        "requests",
        "runpod",
        "vastai",
    )

    def spec(self) -> ComputeSpec:
        """A request for two nodes that the provider can meet, and cheaply."""
        return ComputeSpec(nodes=2, image=Image())

    def impossible(self) -> ComputeSpec:
        """A request that the provider cannot meet."""
        return evolve(self.spec(), machine="no-such-machine", cpu=1_000_000, memory_gb=1e9)

    def unauthorised(self) -> Provider | None:
        """The provider with credentials that are refused; ``None`` leaves the test out."""
        return None

    def existing(self) -> Collection[str] | None:
        """The ids of all machines that exist, by the word of the server and not of the provider.

        An author whose server is a fake can tell. Then the tests also see a machine that the provider hides or loses.
        ``None`` when nobody can tell. By default it is what ``vendor()`` tells.
        """
        vendor = self.vendor()
        return None if vendor is None else vendor.existing()

    def vendor(self) -> Vendor | None:
        """The fake of the vendor's server, on which things can be made to go wrong; ``None`` leaves those tests out."""
        return None

    def now(self) -> float:
        """The time, in seconds since the epoch, by which deadlines are reckoned."""
        return _clock.current().time()

    def run[T](self, main: Coroutine[Any, Any, T]) -> T:
        """Run a test on an event loop; a loop on virtual time will do."""
        return asyncio.run(main)


def on_loop[K: ProviderRules](test: Callable[[K, Account], Coroutine[Any, Any, None]]) -> Callable[[K, Provider], None]:
    """Make a test of the fixture ``provider`` from a coroutine over an account, which is cleared whatever happens."""

    def wrapped(self: K, provider: Provider) -> None:
        __tracebackhide__ = True

        async def main() -> None:
            async with Account(self, provider) as account:
                await test(self, account)

        self.run(main())

    for name in (
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
    ):  # without __wrapped__: pytest reads the arguments
        setattr(wrapped, name, getattr(test, name))
    return wrapped


def needs(provider: Provider, capability: str) -> None:
    """Skip the test unless the provider declares the capability."""
    if not getattr(provider.capabilities, capability):
        skip(f"{provider.name} declares Capabilities({capability}=False)")


def served(kit: ProviderRules) -> Vendor:
    """The author's fake server; the test is skipped where there is none."""
    vendor = kit.vendor()
    if vendor is None:
        skip("vendor() gives no server")
    return vendor


def playing(kit: ProviderRules, *faults: Fault) -> Vendor:
    """The author's fake server, which can play these faults; the test is skipped where it cannot."""
    vendor = served(kit)
    for fault in faults:
        if fault not in vendor.faults:
            skip(f"the server of vendor() does not play {fault.name}")
    return vendor
