"""What the rig knows beside moto, and how moto is asked."""

from __future__ import annotations

import http.client
import ipaddress
import threading
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import define, field

from .faults import Faults, Lag
from .machines import Machines
from .market import Lot, Market
from .wire import Refused, Reply, Request, parsed

__all__ = ["CALLER", "SECRET", "Known", "World"]

CALLER = "198.51.100.7"
"""The address that the tests have, as the rig sees it: what lets it in lets them in."""
SECRET = "rig-secret-rig-secret-rig-secret-rig-sec"
"""The secret of every access key. Signatures are not looked at."""

EC2_VERSION = "2016-11-15"


@define(eq=False)
class Known:
    """An instance, with what is told of it later than it happens; see `Lag`."""

    id: str
    region: str
    lot: Lot
    public_ip: str = ""
    private_ip: str = ""
    unseen: int = 0
    untagged: int = 0
    pending: int = 0
    shutting_down: int = 0
    profile: str | None = None
    """The name of its instance profile."""
    gone: bool = False
    reason: tuple[str, str] | None = None
    """Why it ended, by the code and the text of its state reason."""


@define(eq=False)
class World:
    """The state of a rig. Whoever reads or changes it holds ``lock``."""

    port: int
    """Where moto listens."""
    machines: Machines | None
    market: Market = field(factory=Market)
    faults: Faults = field(factory=Faults)
    lag: Lag = field(factory=Lag)
    known: dict[str, Known] = field(factory=dict)
    templates: dict[str, list[dict[str, str]]] = field(factory=dict)
    """Versions of launch templates, by id: fields as those of RunInstances."""
    template_names: dict[str, str] = field(factory=dict)
    keys: dict[tuple[str, str], str] = field(factory=dict)
    """Public keys that were imported, by region and name."""
    tokens: dict[tuple[str, str, str], tuple[Mapping[str, str], Reply]] = field(factory=dict)
    """Calls that have had an effect and their replies, by region, action and client token."""
    credentials: set[str] = field(factory=lambda: {"AKIARIG0000000000001", "ASIARIG0000000000002"})
    """Ids of access keys that are accepted: the tests', and that of roles."""
    policy: tuple[str, ...] | None = None
    """Actions that are allowed, as ``ec2:Describe*``; ``None`` for everything."""
    regions: tuple[str, ...] | None = None
    """The regions that are enabled for the account; ``None`` for all."""
    document: Mapping[str, Any] | None = None
    """A policy as IAM has it; ``None`` for everything."""
    decisions: list[Any] = field(factory=list)
    """What that policy was asked for, and by which statements it allowed it; see policies.py."""
    managed: bool = False
    """Whether Session Manager reaches instances without a profile, too: Default Host Management Configuration."""
    calls: list[Request] = field(factory=list)
    lock: threading.RLock = field(factory=threading.RLock)

    def forward(self, request: Request, body: bytes | None = None) -> Reply:
        """Moto's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            own = {"content-length", "connection"}
            kept = {name: value for name, value in request.headers.items() if name not in own}
            connection.request(request.method, request.path, request.body if body is None else body, kept)
            response = connection.getresponse()
            content = response.read()
            dropped = {"content-length", "connection", "transfer-encoding", "server", "date"}
            headers = {name: value for name, value in response.getheaders() if name.lower() not in dropped}
            if headers.get("x-amz-version-id") == "null":  # S3 says nothing where versions are not kept
                del headers["x-amz-version-id"]
            if request.method == "HEAD" and (length := response.getheader("Content-Length")):
                headers["Content-Length"] = length
            return Reply(response.status, content, headers)
        finally:
            connection.close()

    def ec2(self, region: str, action: str, params: Mapping[str, str]) -> ET.Element:
        """Moto's answer to a call of the rig's own.

        Raises:
            Refused: it is an error.
        """
        fields = {**params, "Action": action, "Version": EC2_VERSION}
        headers = {
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "authorization": f"AWS4-HMAC-SHA256 Credential=RIG/20260101/{region}/ec2/aws4_request, Signature=0",
            "host": f"ec2.{region}.amazonaws.com",
        }
        request = Request("ec2", region, action, "POST", "/", headers=headers)
        reply = self.forward(request, self.inward(region, urlencode(fields).encode()))
        if reply.status >= 300:
            error = parsed(reply.body).find(".//Error")
            assert error is not None, reply.body
            raise Refused(error.findtext("Code", ""), error.findtext("Message", ""), reply.status)
        return parsed(self.outward(region, reply.body))

    def outward(self, region: str, body: bytes) -> bytes:
        """With the addresses at which instances are reached, in the place of those that moto makes up."""
        if self.machines is None:
            return body
        return body.replace(b"54.214.", b"127.77.").replace(b"172.31.", self.machines.prefix(region).encode())

    def inward(self, region: str, body: bytes) -> bytes:
        """The reverse of `outward`."""
        if self.machines is None:
            return body
        return body.replace(b"127.77.", b"54.214.").replace(self.machines.prefix(region).encode(), b"172.31.")

    def running(self, region: str) -> list[Lot]:
        return [each.lot for each in self.known.values() if not each.gone and each.region == region]

    def lets_in(self, known: Known) -> bool:
        """Whether the security groups of an instance let the tests in by SSH."""
        told = self.ec2(known.region, "DescribeInstances", {"InstanceId.1": known.id})
        groups = {each.text or "" for each in told.iter("groupId")}
        asked = {f"GroupId.{place}": group for place, group in enumerate(sorted(groups), 1)}
        rules = self.ec2(known.region, "DescribeSecurityGroups", asked) if asked else ET.Element("none")
        for rule in rules.iterfind("securityGroupInfo/item/ipPermissions/item"):
            ports = range(int(rule.findtext("fromPort") or 0), int(rule.findtext("toPort") or 65535) + 1)
            fits = rule.findtext("ipProtocol") == "-1" or (rule.findtext("ipProtocol") == "tcp" and 22 in ports)
            networks = [ipaddress.ip_network(each.text or "") for each in rule.iterfind("ipRanges/item/cidrIp")]
            if fits and any(ipaddress.ip_address(CALLER) in network for network in networks):
                return True
        return False

    def ended(self, instance: str) -> None:
        """A machine has ended by itself: it is terminated, or stopped where that is what it was launched with."""
        with self.lock:
            known = self.known.get(instance)
            if known is None or known.gone:
                return
            asked = {"InstanceId": instance, "Attribute": "instanceInitiatedShutdownBehavior"}
            told = self.ec2(known.region, "DescribeInstanceAttribute", asked)
            if told.findtext("instanceInitiatedShutdownBehavior/value") == "terminate":
                self.terminate(known, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
            else:
                self.ec2(known.region, "StopInstances", {"InstanceId.1": instance})

    def terminate(self, known: Known, code: str, message: str) -> None:
        """Let it be terminated, for this reason."""
        self.ec2(known.region, "TerminateInstances", {"InstanceId.1": known.id})
        self.let_go(known, code, message)

    def let_go(self, known: Known, code: str, message: str) -> None:
        """Moto has terminated it: its container goes as well."""
        if known.gone:
            return
        known.gone, known.reason, known.pending = True, (code, f"{code}: {message}"), 0
        known.shutting_down = self.lag.shutting_down
        if self.machines is not None:
            self.machines.end(known.id)
