"""Requests and replies of AWS's three dialects, as values, and the few things that one does with them. Pure."""

from __future__ import annotations

import base64
import json
import re
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import field, frozen

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15"
JSON = "application/x-amz-json-1.1"

# Credential=KEY/DATE/REGION/SERVICE/aws4_request
_SCOPE = re.compile(r"Credential=(?P<key>[^/,]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


@frozen
class Request:
    """One call, as it came. ``params`` are the fields of a form (ec2, sts, iam), ``json`` the body of the others.

    The ``action`` of s3 is the method and the bucket: ``GET data``.
    """

    service: str
    region: str
    action: str
    method: str
    path: str
    params: Mapping[str, str] = field(factory=dict)
    json: Mapping[str, Any] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    key: str | None = None
    """Id of the access key that signed it; ``None`` for what is not signed."""


@frozen
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]


class Refused(Exception):
    """An error that the rig answers with: the code and the HTTP status that AWS gives."""

    def __init__(self, code: str, message: str = "refused by the rig", status: int = 400) -> None:
        super().__init__(code, message, status)
        self.code, self.message, self.status = code, message, status


def read(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Request:
    """What a call is about: its service and region by the signature, its action by the body, the header or the path."""
    signed = _SCOPE.search(headers.get("authorization", ""))
    service, region, key = (signed["service"], signed["region"], signed["key"]) if signed else ("", "us-east-1", None)
    common: dict[str, Any] = {"service": service, "region": region, "key": key}
    common |= {"method": method, "path": path, "headers": headers, "body": body}
    if target := headers.get("x-amz-target"):
        return Request(action=target.rpartition(".")[2], json=json.loads(body or b"{}"), **common)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        params = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return Request(action=params.get("Action", ""), params=params, **common)
    return Request(action=f"{method} {urlsplit(path).path.split('/')[1]}", **common)


def refusal(request: Request, error: Refused) -> Reply:
    """The error in the dialect of the service."""
    if request.service == "s3":
        content = f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
    elif "x-amz-target" in request.headers:
        told = json.dumps({"__type": error.code, "message": error.message}).encode()
        return Reply(error.status, told, {"Content-Type": JSON})
    elif request.service in {"sts", "iam"}:
        inner = f"<Error><Type>Sender</Type><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
        content = f"<ErrorResponse>{inner}<RequestId>{secrets.token_hex(8)}</RequestId></ErrorResponse>"
    else:
        inner = f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
        content = f"<Response><Errors>{inner}</Errors><RequestID>{secrets.token_hex(8)}</RequestID></Response>"
    return Reply(error.status, content.encode(), {"Content-Type": "text/xml"})


def answer(request: Request, value: Mapping[str, Any] | ET.Element) -> Reply:
    """A result in the dialect of the service: of nested mappings, sequences and texts, or of XML that is at hand."""
    if "x-amz-target" in request.headers:
        assert isinstance(value, Mapping)
        return Reply(200, json.dumps(value).encode(), {"Content-Type": JSON})
    root = value if isinstance(value, ET.Element) else element(f"{request.action}Response", value)
    root.set("xmlns", NAMESPACE)
    return Reply(200, ET.tostring(root), {"Content-Type": "text/xml"})


def parsed(body: bytes) -> ET.Element:
    """EC2's XML without its namespace, so that names are what they look like."""
    return ET.fromstring(re.sub(rb' xmlns="[^"]*"', b"", body, count=1))


def element(tag: str, value: object) -> ET.Element:
    """XML as EC2 writes it: a sequence is made of ``item``, ``None`` is left out."""
    made = ET.Element(tag)
    if isinstance(value, Mapping):
        made.extend(element(name, inner) for name, inner in value.items() if inner is not None)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        made.extend(element("item", inner) for inner in value)
    else:
        made.text = str(value).lower() if isinstance(value, bool) else str(value)
    return made


def listed(params: Mapping[str, str], prefix: str) -> list[str]:
    """The values of ``prefix.1``, ``prefix.2`` and so on, in order."""
    return [inner[""] for inner in numbered(params, prefix)]


def numbered(params: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
    """The fields below ``prefix.1``, ``prefix.2`` and so on, in order, by what follows the number."""
    found: dict[int, dict[str, str]] = {}
    for name, value in params.items():
        if match := re.fullmatch(rf"{re.escape(prefix)}\.(\d+)(?:\.(.+))?", name):
            found.setdefault(int(match[1]), {})[match[2] or ""] = value
    return [found[number] for number in sorted(found)]


def paged[T](items: Sequence[T], size: int, asked: object, token: object) -> tuple[list[T], str | None]:
    """One page of at most ``size``, and less if less is asked for; and what names the next one.

    Raises:
        Refused: the token is none that was given.
    """
    try:
        start = int(base64.b64decode(str(token), validate=True)) if token else 0
    except ValueError:
        raise Refused("InvalidNextToken", f"{token} is no token") from None
    end = start + min(size, int(str(asked)) if asked else size)
    return list(items[start:end]), base64.b64encode(str(end).encode()).decode() if end < len(items) else None
