"""Instances as Vast.ai tells of them."""

from __future__ import annotations

import time
from typing import Any

from attrs import define, field

from .market import Ask

__all__ = ["DEAD", "Instance"]

DEAD = ("stopped", "frozen", "exited", "unknown", "offline")
"""What an instance may be that does not run any more. Each is billed, for its disk at least."""


@define(eq=False)
class Instance:
    """What was rented. It exists until it is destroyed, whatever has become of its container."""

    id: int
    ask: Ask
    key: str
    """Its own: may start, stop and destroy this one alone."""
    label: str | None
    image: str
    disk: float
    onstart: str | None
    runtype: str
    price: float | None
    """What is bid for it; ``None`` on demand."""
    ours: bool = True
    intended: str = "running"
    actual: str | None = None
    """``None`` until the host has heard of it."""
    looks: int = 0
    """How many more looks at it find it on its way; below 0 it never runs."""
    keys: list[str] = field(factory=list)
    """The public keys that were attached."""
    address: tuple[str, int] | None = None
    """Of its SSH server, once it runs."""
    began: float = field(factory=time.time)

    def boot(self) -> None:
        """Another look at it: the next state on its way, if it is on its way."""
        steps = (None, "created", "loading")
        if self.actual not in steps or self.intended != "running":
            return
        if self.looks == 0 and self.address is not None:
            self.actual = "running"
            return
        self.looks -= self.looks > 0
        self.actual = steps[min(steps.index(self.actual) + 1, 2)]

    @property
    def cost(self) -> float:
        """Dollars for an hour, disk included."""
        return float(self.ask.row(self.disk, bid=False)["storage_total_cost"]) + (self.price or self.ask.dph_base)

    def row(self) -> dict[str, Any]:
        """What the interface says of it."""
        row = self.ask.row(self.disk, bid=self.price is not None)
        shared = (
            *("machine_id", "host_id", "bundle_id", "gpu_name", "gpu_arch", "num_gpus", "gpu_ram", "gpu_frac"),
            *("cpu_arch", "cpu_cores", "cpu_cores_effective", "cpu_ram", "geolocation", "direct_port_count"),
            *("min_bid", "reliability2", "storage_cost", "storage_total_cost", "verification", "rentable"),
        )
        running = self.actual == "running" and self.address is not None
        host, port = self.address or ("", 0)
        return {
            **{name: row[name] for name in shared if name != "bundle_id"},
            "id": self.id,
            "actual_status": self.actual,
            "cur_state": "running" if self.intended == "running" else "stopped",
            "next_state": self.intended,
            "intended_status": self.intended,
            "label": self.label,
            "image_uuid": self.image,
            "image_runtype": self.runtype,
            "image_args": [],
            "extra_env": [],
            "onstart": self.onstart,
            "is_bid": self.price is not None,
            "dph_base": self.price or self.ask.dph_base,
            "dph_total": round(self.cost, 6),
            "disk_space": self.disk,
            "start_date": self.began,
            "end_date": self.began + self.ask.duration,
            "duration": self.ask.duration,
            "status_msg": f"success, {self.actual} {self.image}/ssh",
            # It comes with white space around it, and so do its neighbours.
            "public_ipaddr": f"{host}\n" if running else None,
            "local_ipaddrs": "10.0.0.5 172.17.0.2 \n" if running else None,
            "ssh_host": "ssh5.vast.ai",
            "ssh_idx": "5",
            "ssh_port": 10_000 + self.id % 1000,
            "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}, {"HostIp": "::", "HostPort": str(port)}]}
            if running
            else None,
        }
