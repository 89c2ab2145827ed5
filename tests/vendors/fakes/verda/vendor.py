"""The fake as the conformance kit sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from skyward.testing import Fault

from .server import Fake
from .shelves import SOLD_OUT

__all__ = ["VerdaVendor"]

_CREATE, _ACT = "POST /v1/instances", "PUT /v1/instances"
_PAUSE = {"Retry-After": "1"}


class VerdaVendor:
    """What the kit may do to a server whose machines are pretended."""

    faults: Collection[Fault] = frozenset(Fault) - {Fault.WRONG_HOST_KEY}

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        script = self.fake.faults
        play: dict[Fault, Callable[[], None]] = {
            Fault.LOST_REPLY: lambda: script.lose(_CREATE, times=times),
            Fault.ERROR_AFTER_CREATE: lambda: script.fail_after(_CREATE, 500, times=times),
            Fault.ERROR_BEFORE_CREATE: lambda: script.fail(_CREATE, 500, times=times),
            Fault.THROTTLED: lambda: script.fail("*", 429, headers=_PAUSE, times=times),
            Fault.NO_CAPACITY: lambda: script.fail(_CREATE, 503, body=SOLD_OUT, times=times),
            Fault.QUOTA: lambda: script.fail(_CREATE, 402, times=times),
            Fault.REFUSED_CREDENTIALS: lambda: self._add(refusing=times),
            Fault.PARTIAL: lambda: script.fail(_CREATE, 503, body=SOLD_OUT, times=times, after=1),
            Fault.TERMINATE_FAILS: lambda: script.fail(_ACT, 500, times=times),
            Fault.SLOW_BOOT: lambda: self._add(slow=times),
            Fault.STUCK: lambda: self._add(stuck=times),
        }
        play[fault]()

    def _add(self, **more: int) -> None:
        with self.fake.lock:
            for name, times in more.items():
                setattr(self.fake, name, getattr(self.fake, name) + times)

    def end(self, name: str, /) -> None:
        spot = self.fake.held[name].facts["is_spot"]
        self.fake.finish(name, "discontinued" if spot else "error")

    def creates(self) -> int:
        return len(self.fake.asked(_CREATE))

    def existing(self) -> Collection[str]:
        return self.fake.existing()

    def belongings(self) -> Collection[str]:
        return self.fake.belongings()

    def secrets(self) -> Collection[str]:
        with self.fake.lock:
            return {self.fake.client[1], *self.fake.tokens}

    def user_data(self, name: str, /) -> str:
        return self.fake.machines[name].script

    def reset(self) -> None:
        self.fake.faults.clear()
        with self.fake.lock:
            self.fake.refusing = self.fake.slow = self.fake.stuck = 0
