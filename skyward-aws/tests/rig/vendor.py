"""The rig as the vendor of the conformance kit."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Collection

from skyward.testing import Fault

from .rig import Rig
from .world import SECRET

__all__ = ["RigVendor"]

_FOR_EVER = 10**6


class RigVendor:
    """AWS as it can fail. ``regions`` are those in which pools have anything."""

    def __init__(self, rig: Rig, *regions: str) -> None:
        self._rig = rig
        self._regions = regions
        self._keys = set(rig.world.credentials)
        self._quotas = dict(rig.market.quotas)

    @property
    def faults(self) -> Collection[Fault]:
        return frozenset(Fault) - {Fault.WRONG_HOST_KEY}

    def inject(self, fault: Fault, /, times: int = 1) -> None:
        rig = self._rig
        match fault:
            case Fault.LOST_REPLY:
                rig.faults.lose("CreateFleet", times=times)
            case Fault.ERROR_AFTER_CREATE:
                rig.faults.fail_after("CreateFleet", "InternalError", times=times)
            case Fault.ERROR_BEFORE_CREATE:
                rig.faults.fail("CreateFleet", "InternalError", 500, times=times)
            case Fault.THROTTLED:
                rig.faults.throttle("*", times=times)
            case Fault.TERMINATE_FAILS:
                rig.faults.fail("TerminateInstances", "InternalError", 500, times=times)
            case _:
                with rig.world.lock:
                    self._of_the_world(fault, times)

    def _of_the_world(self, fault: Fault, times: int) -> None:
        """What is no matter of single calls; it holds until it is reset."""
        world = self._rig.world
        match fault:
            case Fault.NO_CAPACITY:
                world.market.refuse(times=times)
            case Fault.QUOTA:
                world.market.quotas.update(dict.fromkeys(self._quotas, 0.0))
            case Fault.REFUSED_CREDENTIALS:
                world.credentials.clear()
            case Fault.PARTIAL:
                world.market.limit(len(self._rig.existing()) + 1)
            case Fault.SLOW_BOOT:
                world.lag.pending = 4
            case Fault.STUCK:
                world.lag.pending = _FOR_EVER
            case _:
                raise AssertionError(f"the rig does not play {fault.name}")

    def end(self, name: str, /) -> None:
        with self._rig.world.lock:
            known = self._rig.world.known[name]
            self._rig.world.terminate(known, "Server.InternalError", "Internal error on launch")

    def creates(self) -> int:
        with self._rig.world.lock:
            calls = [call for call in self._rig.world.calls if call.action in {"CreateFleet", "RunInstances"}]
        return len({call.params["ClientToken"] for call in calls if call.params.get("DryRun") != "true"})

    def existing(self) -> Collection[str]:
        return self._rig.existing()

    def belongings(self) -> Collection[str]:
        return [
            f"{kind} {name}"
            for region in self._regions
            for kind, names in self._rig.left(region).items()
            if kind != "instance"
            for name in names
        ]

    def secrets(self) -> Collection[str]:
        return (SECRET,)

    def user_data(self, name: str, /) -> str:
        with self._rig.world.lock:
            asked = {"InstanceId": name, "Attribute": "userData"}
            told = self._rig.world.ec2(self._rig.world.known[name].region, "DescribeInstanceAttribute", asked)
        data = base64.b64decode(told.findtext("userData/value", ""))
        return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()

    def reset(self) -> None:
        rig = self._rig
        rig.faults.clear()
        with rig.world.lock:
            rig.world.credentials |= self._keys
            rig.market.quotas.update(self._quotas)
            rig.market.unlimited()
            rig.lag.pending = 1
