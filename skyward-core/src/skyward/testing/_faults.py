"""What a fake of the vendor's server lets the kit do to it."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum, auto
from typing import Protocol, runtime_checkable

__all__ = ["Fault", "SeesUserData", "Vendor"]


class Fault(StrEnum):
    """What can go wrong at a vendor's.

    A *create* is the request that buys machines. Each fault has the vendor's own form: its status, body and headers.

    Attributes:
        LOST_REPLY: a create has its effect, and the connection is cut without an answer.
        ERROR_AFTER_CREATE: a create has its effect, and its answer is an error of the server (5xx).
        ERROR_BEFORE_CREATE: a create has no effect, and its answer is an error of the server (5xx).
        THROTTLED: a request of any kind, a create too, is refused as one too many, without effect, with the shortest
            pause that the vendor can ask for.
        NO_CAPACITY: a create is refused as sold out, although the offers still show the machine.
        QUOTA: a create is refused by the account's limit or balance.
        REFUSED_CREDENTIALS: a request of any kind is refused as one with credentials that are no longer valid.
        SLOW_BOOT: a machine that is created next is on its way for at least three looks at it, and then runs.
        WRONG_HOST_KEY: the SSH server of a machine that is created next has another key than the one that it was given.
            Only where machines are real.
        PARTIAL: of an order of several machines, fewer come, and at least one does. Where each has a create of its own,
            the second one is refused as sold out.
        TERMINATE_FAILS: a request that ends machines has no effect, and its answer is an error of the server (5xx).
        STUCK: a machine that is created next exists and is billed, and never runs.
    """

    LOST_REPLY = auto()
    ERROR_AFTER_CREATE = auto()
    ERROR_BEFORE_CREATE = auto()
    THROTTLED = auto()
    NO_CAPACITY = auto()
    QUOTA = auto()
    REFUSED_CREDENTIALS = auto()
    SLOW_BOOT = auto()
    WRONG_HOST_KEY = auto()
    PARTIAL = auto()
    TERMINATE_FAILS = auto()
    STUCK = auto()


class Vendor(Protocol):
    """A fake server of the vendor's, as far as the kit has a say in it; ``ProviderConformance.vendor()`` returns it.

    Every answer is the server's own truth, whatever its API tells. Things of strangers are left out.
    """

    @property
    def faults(self) -> Collection[Fault]:
        """Those that it can play; the rules of the others are skipped."""
        ...

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        """Have this befall the next ``times`` requests, or machines, that it can befall."""
        ...

    def end(self, name: str, /) -> None:
        """Have the machine with this id end by itself, as by a failure of its host or by being outbid."""
        ...

    def creates(self) -> int:
        """How many creates have reached it so far, those that were refused or failed too.

        What the vendor recognises as a repetition, such as by a client token, counts once with what it repeats.
        """
        ...

    def existing(self) -> Collection[str]:
        """The ids of the machines that exist and are billed."""
        ...

    def belongings(self) -> Collection[str]:
        """What pools have beside machines and exists: keys, scripts, volumes, networks. Any unique names will do."""
        ...

    def secrets(self) -> Collection[str]:
        """The credentials by which it is asked, also those that it has given out itself, such as tokens."""
        ...

    def reset(self) -> None:
        """Forget the faults that have not happened yet. What exists stays as it is."""
        ...


@runtime_checkable
class SeesUserData(Protocol):
    """A vendor that can show what a machine was given for its first boot; optional for a `Vendor`."""

    def user_data(self, name: str, /) -> str:
        """What the machine with this id was given: the script, or whatever carries it, as text; empty for none."""
        ...
