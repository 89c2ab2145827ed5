"""Session Manager: a way into instances whose ports are closed, over plain TCP as plugin.py speaks it."""

from __future__ import annotations

import secrets
from typing import Any

from .wire import Refused, Request
from .world import Known, World

__all__ = ["describe_agents", "end_session", "start_session"]


def _connected(world: World, region: str) -> dict[str, Known]:
    """Instances whose agent has reported: those that run, with an instance profile."""
    here = (known for known in world.known.values() if known.region == region)
    return {known.id: known for known in here if known.profile and not (known.gone or known.pending or known.unseen)}


def describe_agents(world: World, request: Request) -> dict[str, Any]:
    """DescribeInstanceInformation; filters by ids are honoured."""
    filters = {each["Key"]: each["Values"] for each in request.json.get("Filters", ())}
    ids = filters.get("InstanceIds")
    found = [each for each in _connected(world, request.region) if ids is None or each in ids]
    return {"InstanceInformationList": [{"InstanceId": each, "PingStatus": "Online"} for each in found]}


def start_session(world: World, request: Request) -> dict[str, Any]:
    """StartSession for SSH.

    Raises:
        Refused: the agent of that instance has not reported.
    """
    known = _connected(world, request.region).get(request.json["Target"])
    if known is None:
        raise Refused("TargetNotConnected", f"{request.json['Target']} is not connected.")
    (port,) = request.json.get("Parameters", {}).get("portNumber", ["22"])
    url = f"ws://{known.private_ip}:{port}/v1/data-channel"
    return {"SessionId": f"rig-{secrets.token_hex(8)}", "TokenValue": secrets.token_urlsafe(32), "StreamUrl": url}


def end_session(_world: World, request: Request) -> dict[str, Any]:
    """TerminateSession."""
    return {"SessionId": request.json["SessionId"]}
