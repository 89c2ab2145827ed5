"""Instances as Vast.ai tells of them, and the order for one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from skyward.spi import Instance, InstanceState, MachineLabel, Order
from skyward_vastai._settings import IMAGE, VastAI

__all__ = ["LABEL_LIMIT", "Made", "contract", "machine"]

LABEL_LIMIT = 256
"""Characters of a label."""
_DEAD = frozenset({"stopped", "frozen", "exited", "unknown", "offline"})
"""States in which an instance does not run and will not again as it was: it was outbid, its container or its host has
ended. Its disk is billed in each of them, until it is destroyed."""


@frozen
class Made:
    """The answer to an order.

    Attributes:
        new_contract: the instance's id.
        instance_api_key: its own key. A secret.
    """

    new_contract: int
    instance_api_key: str | None = field(default=None, repr=False)


def contract(order: Order, settings: VastAI, onstart: str) -> dict[str, Any]:
    """The body of an order.

    Args:
        order: what is to be made.
        settings: the user's.
        onstart: what the instance runs at its start.
    """
    body = {
        "client_id": "me",
        "image": settings.image or IMAGE,
        "disk": settings.disk_gb,
        "label": order.label.text(LABEL_LIMIT),
        "runtype": "ssh_direct",
        "onstart": onstart,
        "target_state": "running",
        # Else what somebody else has rented meanwhile becomes an instance that is stopped, and billed for its disk.
        "cancel_unavail": True,
    }
    bid = order.offer.details.get("bid")
    if order.offer.market != "spot" or not isinstance(bid, float):
        return body
    cost = order.offer.details.get("cost")
    disk = cost - bid if isinstance(cost, float) else 0.0
    return {**body, "price": bid if order.max_price is None else round(min(bid, order.max_price - disk), 6)}


def machine(row: Mapping[str, Any]) -> Instance | None:
    """An instance of a pool; ``None`` for a stranger's.

    It runs as soon as its port can be reached directly. One that is dead is gone, and billed: the base destroys it.
    """
    label = MachineLabel.read(row.get("label"))
    if label is None:
        return None
    status = str(row.get("actual_status") or "ordered")
    address, port = str(row.get("public_ipaddr") or "").strip(), _port(row.get("ports"))
    details: dict[str, object] = {
        "status": status,
        "market": "spot" if row.get("is_bid") else "on-demand",
        "machine": row.get("machine_id"),
        "instance_type": f"{row.get('num_gpus')}x {row.get('gpu_name')}",
        "region": row.get("geolocation"),
    }
    if status in _DEAD:
        return label.instance(str(row["id"]), InstanceState.GONE, details={**details, "billed": True})
    if status != "running" or not address or port is None:
        return label.instance(str(row["id"]), InstanceState.PENDING, details=details)
    return label.instance(str(row["id"]), InstanceState.RUNNING, ip=address, details={**details, "port": port})


def _port(ports: object) -> int | None:
    """The port of the host behind which the instance's SSH server is, by Docker's table of them."""
    rows = ports.get("22/tcp") if isinstance(ports, Mapping) else None
    first = rows[0] if isinstance(rows, list) and rows else None
    text = str(first.get("HostPort") or "") if isinstance(first, Mapping) else ""
    return int(text) if text.isdecimal() else None
