"""Session Manager: a way into instances whose ports are closed, over plain TCP as plugin.py speaks it."""

from __future__ import annotations

import secrets
from typing import Any

from .wire import Refused, Request
from .world import Known, World

__all__ = ["describe_agents", "end_session", "service_setting", "start_session"]

_ROLE = "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole"


def _connected(world: World, region: str) -> dict[str, Known]:
    """Instances whose agent has reported: those that run, and have a role."""
    here = (known for known in world.known.values() if known.region == region)
    able = (known for known in here if known.profile or world.managed)
    return {known.id: known for known in able if not (known.gone or known.pending or known.unseen)}


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


def service_setting(world: World, request: Request) -> dict[str, Any]:
    """GetServiceSetting, for the one that gives all instances a role.

    Raises:
        Refused: it is another one.
    """
    name = request.json["SettingId"]
    if not name.endswith("/ssm/managed-instance/default-ec2-instance-management-role"):
        raise Refused("ServiceSettingNotFound", f"the rig has no setting {name}")
    status = ("Customized", _ROLE) if world.managed else ("Default", "$None")
    return {"ServiceSetting": {"SettingId": name, "Status": status[0], "SettingValue": status[1]}}


def end_session(_world: World, request: Request) -> dict[str, Any]:
    """TerminateSession."""
    return {"SessionId": request.json["SessionId"]}
