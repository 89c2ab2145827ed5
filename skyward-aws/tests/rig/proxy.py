"""The HTTP server that the tests' clients talk to: it answers by itself, or lets moto answer."""

from __future__ import annotations

import base64
import fnmatch
import http.server
import re
import socket
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from . import catalogue
from .fleets import create_fleet
from .launches import create_template, once, run_instances
from .policies import Decision, allowing, checks
from .sessions import describe_agents, end_session, service_setting, start_session
from .views import PAGED, check_unseen, describe_instances, describe_regions, list_page, security_group_in_use
from .wire import Refused, Reply, Request, answer, listed, parsed, read, refusal
from .world import World

__all__ = ["serve"]

TOKENS = {"RunInstances", "CreateFleet", "CreateLaunchTemplate"}

# What else must be allowed where this is called.
IMPLIED = {
    "ec2:CreateFleet": ("ec2:RunInstances", "ec2:CreateTags"),
    "ec2:RunInstances": ("ec2:CreateTags",),
}
IP_FREEBIND = 15
SERVICES = {"servicequotas": "servicequotas", "tagging": "tag"}


def reply_to(world: World, request: Request) -> Reply | None:
    """The reply; ``None`` for a connection that ends without one."""
    plan = world.faults.next(request)
    if plan.wait is not None:
        plan.wait()
    try:
        with world.lock:
            world.calls.append(request)
            _admit(world, request)
            if plan.error is not None and not plan.late:
                raise plan.error
            reply = _answered(world, request)
            if plan.error is not None:
                raise plan.error
    except Refused as error:
        reply = refusal(request, error)
    return None if plan.lost else reply


def _admit(world: World, request: Request) -> None:
    """Refuse keys that are not known, and actions that the policy does not allow."""
    if request.key not in world.credentials:
        refused = {
            "ec2": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
            "sts": ("InvalidClientTokenId", "The security token included in the request is invalid", 403),
            "s3": ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records", 403),
        }
        other = ("UnrecognizedClientException", "The security token included in the request is invalid.", 400)
        raise Refused(*refused.get(request.service, other))
    if request.service in {"s3", "sts"}:
        return
    if world.document is not None:
        for check in checks(world, request):
            by = allowing(world.document, check)
            world.decisions.append(Decision(check, by))
            if not by:
                raise _forbidden(request, check.action, f" on resource: {check.resource}")
    if world.policy is None:
        return
    action = f"{SERVICES.get(request.service, request.service)}:{request.action}"
    profile = any("IamInstanceProfile" in name for name in request.params)
    needed = (action, *IMPLIED.get(action, ()), *(("iam:PassRole",) if profile else ()))
    for each in needed:
        if not any(fnmatch.fnmatchcase(each, allowed) for allowed in world.policy):
            raise _forbidden(request, each)


def _forbidden(request: Request, action: str, where: str = "") -> Refused:
    told = f"User: arn:aws:iam::123456789012:user/rig is not authorized to perform: {action}{where}"
    if request.service == "ec2":
        return Refused("UnauthorizedOperation", f"You are not authorized to perform this operation. {told}", 403)
    return Refused("AccessDeniedException", told)


def _answered(world: World, request: Request) -> Reply:
    token = request.action in TOKENS and request.params.get("ClientToken")
    if token and (before := once(world, request)) is not None:
        return before
    if request.service == "ec2":
        check_unseen(world, request)
        if request.params.get("DryRun") == "true":
            raise Refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
    own = OWN.get((request.service, request.action))
    made = own(world, request) if own is not None else None
    if made is None:
        made = _of_moto(world, request)
    reply = made if isinstance(made, Reply) else answer(request, made)
    if token and reply.status < 300:
        world.tokens[request.region, request.action, token] = (request.params, reply)
    return reply


def _of_moto(world: World, request: Request) -> Reply:
    if request.service != "ec2":
        reply = world.forward(request)
        if request.service == "sts":  # keys that it lends are good ones
            world.credentials |= {told.decode() for told in re.findall(rb"<AccessKeyId>(\w+)<", reply.body)}
        return reply
    reply = world.forward(request, world.inward(request.region, request.body))
    reply = evolve(reply, body=world.outward(request.region, reply.body))
    if reply.status < 300:
        _note(world, request, reply)
    return reply


def _note(world: World, request: Request, reply: Reply) -> None:
    """Remember what later answers rest on."""
    match request.action:
        case "ImportKeyPair":
            material = base64.b64decode(request.params["PublicKeyMaterial"]).decode()
            world.keys[request.region, request.params["KeyName"]] = material
        case "CreateLaunchTemplate" | "CreateLaunchTemplateVersion":
            told = parsed(reply.body)
            template = next(told.iter("launchTemplateId")).text or ""
            world.template_names[next(told.iter("launchTemplateName")).text or ""] = template
            create_template(world, request, template)
        case "DeleteLaunchTemplate":
            world.templates.pop(next(parsed(reply.body).iter("launchTemplateId")).text or "", None)
        case "TerminateInstances":
            for each in listed(request.params, "InstanceId"):
                if each in world.known:
                    world.let_go(world.known[each], "Client.UserInitiatedShutdown", "User initiated shutdown")


def _delete_group(world: World, request: Request) -> None:
    security_group_in_use(world, request)


def _products(world: World, request: Request) -> Mapping[str, Any]:
    return catalogue.products(request, world.market, ("us-east-1", "us-west-2", "eu-central-1"))


def _refuse(_world: World, request: Request) -> None:
    raise Refused("InvalidAction", f"the rig has no {request.action}")


type Own = Callable[[World, Request], Reply | ET.Element | Mapping[str, Any] | None]
OWN: dict[tuple[str, str], Own] = {
    ("pricing", "GetProducts"): _products,
    ("servicequotas", "GetServiceQuota"): lambda world, request: catalogue.quotas(request, world.market),
    ("servicequotas", "ListServiceQuotas"): lambda world, request: catalogue.quotas(request, world.market),
    ("ssm", "GetParameter"): lambda world, request: catalogue.parameters(request),
    ("ssm", "GetParameters"): lambda world, request: catalogue.parameters(request),
    ("ssm", "DescribeInstanceInformation"): describe_agents,
    ("ssm", "GetServiceSetting"): service_setting,
    ("ssm", "StartSession"): start_session,
    ("ssm", "TerminateSession"): end_session,
    ("ec2", "DescribeSpotPriceHistory"): lambda world, request: catalogue.spot_history(request, world.market),
    ("ec2", "GetSpotPlacementScores"): lambda world, request: catalogue.placement_scores(request, world.market),
    ("ec2", "DescribeInstances"): describe_instances,
    ("ec2", "DescribeRegions"): describe_regions,
    ("ec2", "RunInstances"): run_instances,
    ("ec2", "CreateFleet"): create_fleet,
    ("ec2", "DeleteSecurityGroup"): _delete_group,
    **{("ec2", action): list_page for action in PAGED},
    **{("ec2", f"{verb}Fleets"): _refuse for verb in ("Describe", "Delete", "Modify")},
    **{("ec2", name): _refuse for name in ("RequestSpotInstances", "RequestSpotFleet", "StartInstances")},
}
"""What moto is not asked for. ``None`` as an answer lets moto answer after all."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection, which is kept for further calls as by AWS."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    world: World

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = reply_to(self.world, read(self.command, self.path, headers, body))
        if reply is None:
            self.close_connection = True
            return None
        return self._send(reply)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 -- the names that the server looks for

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        pass


def serve(world: World, address: str = "127.0.0.1") -> tuple[http.server.ThreadingHTTPServer, threading.Thread]:
    """Start it on a free port. The address may be one that this machine has not yet."""
    handler = type("Handler", (Handler,), {"world": world})
    server = http.server.ThreadingHTTPServer((address, 0), handler, bind_and_activate=False)
    server.daemon_threads = True
    server.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    server.server_bind()
    server.server_activate()
    thread = threading.Thread(target=server.serve_forever, name="rig-proxy", daemon=True)
    thread.start()
    return server, thread
