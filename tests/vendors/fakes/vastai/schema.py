"""What Vast.ai has published, put right where its interface is known to do something else."""

from __future__ import annotations

from typing import Any

from fakes.schema import Schema

__all__ = ["published"]

UNKNOWN = (
    "DELETE /api/v0/instances/* 401",  # it tells of no refusal of a key here, nor of any other trouble with one
    "POST /api/v0/bundles 401",
    "* 429",  # plain text, where the document has JSON, and where it has nothing
)


def published() -> Schema | None:
    """The schema, or ``None`` where the file is missing."""
    return Schema.load("vast_openapi.yaml", patch=_put_right, unknown=UNKNOWN)


def _put_right(document: dict[str, Any]) -> None:
    instance = document["components"]["schemas"]["Instance"]["properties"]
    # A dict as of Docker, which the other description of the same thing has right.
    instance["ports"] = {"type": ["object", "null"]}
    instance["extra_env"] = {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
    paths = document["paths"]
    listed = _answer(paths["/api/v1/instances"]["get"])["properties"]["instances"]["items"]["properties"]
    # Nothing of these is known of an instance that has not started yet.
    for properties in (instance, listed):
        for name in ("public_ipaddr", "local_ipaddrs", "ssh_host", "ssh_port", "ssh_idx", "start_date", "onstart"):
            properties[name] = {**properties[name], "type": [_kind(properties[name]), "null"]}
    shown = _answer(paths["/api/v0/instances/{id}"]["get"])["properties"]
    shown["instances"] = {"anyOf": [shown["instances"], {"type": "null"}]}  # for an instance that is gone
    order = paths["/api/v0/asks/{id}"]["put"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    order["runtype"] = {"type": "string"}  # Vast.ai's own client sends "ssh_direc ssh_proxy"
    for name in ("env", "onstart", "price", "label", "args", "args_str", "user", "jupyter_dir", "image_login"):
        order[name] = {"type": ["object", "string", "number", "array", "null"]}  # and null for what it leaves out
    order["template_hash_id"] = {"type": ["string", "null"]}
    refused = paths["/api/v0/asks/{id}"]["put"]["responses"]["400"]["content"]["application/json"]["schema"]
    refused["properties"]["error"]["enum"].append("insufficient_credit")
    search = paths["/api/v0/bundles"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    search["type"] = {"enum": ["on-demand", "ondemand", "bid", "reserved"]}  # the example has what the list lacks
    search["order"] = {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "maxItems": 2}}


def _answer(operation: Any) -> Any:
    return operation["responses"]["200"]["content"]["application/json"]["schema"]


def _kind(schema: Any) -> str:
    kind = schema["type"]
    return kind if isinstance(kind, str) else next(each for each in kind if each != "null")
