"""Whether an engine is on another machine: its containers' ports would be there, and nobody here could reach them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skyward.spi import client_surroundings
from skyward_container._program import run

__all__ = ["ELSEWHERE", "elsewhere", "elsewhere_by_info"]

ELSEWHERE = "is an engine on another machine"
"""What each of the answers begins with."""

_LIMIT = 15.0

_REMEDY = "the ports of its containers would be there, out of this client's reach; "


async def elsewhere(program: str) -> str | None:
    """By variables and settings, before the engine is asked: what is the matter and what to do; else ``None``."""
    name = os.path.basename(program)
    if "podman" in name:
        host, connection = os.environ.get("CONTAINER_HOST"), os.environ.get("CONTAINER_CONNECTION")
        if host:
            return _unless_here(host, f"CONTAINER_HOST={host}", "unset CONTAINER_HOST")
        return await _connection(program, connection, "CONTAINER_CONNECTION") if connection else None
    if "docker" in name:
        host = os.environ.get("DOCKER_HOST")
        if host:
            return _unless_here(host, f"DOCKER_HOST={host}", "unset DOCKER_HOST")
        return await _context(program)
    return None


async def elsewhere_by_info(program: str, info: Mapping[str, Any]) -> str | None:
    """By what the engine says of itself: podman tells whether its service is one that it talks to as a client."""
    host = info.get("host") or {}
    if not host.get("serviceIsRemote") or os.environ.get("CONTAINER_HOST") or os.environ.get("CONTAINER_CONNECTION"):
        return None
    return await _connection(program, None, "the default connection")


async def _context(program: str) -> str | None:
    """The endpoint of Docker's context, where one is chosen."""
    name = os.environ.get("DOCKER_CONTEXT") or _chosen_context()
    if not name or name == "default":
        return None
    host = await _told(program, "context", "inspect", name, "--format", "{{.Endpoints.docker.Host}}")
    return _unless_here(host, f"the context {name}, {host}", f"choose another one by `{program} context use default`")


def _chosen_context() -> str | None:
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        settings = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
        return str(settings.get("currentContext") or "") or None
    except (OSError, ValueError, AttributeError):  # there is none, or one that Docker complains of itself
        return None


async def _connection(program: str, name: str | None, whence: str) -> str | None:
    """The endpoint of one of podman's connections; ``None`` for the default one."""
    try:
        known = json.loads(await _told(program, "system", "connection", "list", "--format", "json") or "[]")
        [host] = [str(each["URI"]) for each in known if (each["Default"] if name is None else each["Name"] == name)]
    except (ValueError, KeyError, TypeError):  # there is none: whatever podman does then, it says so itself
        return None
    remedy = "unset it" if name else f"choose another one by `{program} system connection default`"
    return _unless_here(host, f"{whence}, {host}", remedy)


async def _told(program: str, *arguments: str) -> str:
    try:
        answer = await run((program, *arguments), limit=_LIMIT)
    except (TimeoutError, OSError):  # it is asked for something else next, and that is reported
        return ""
    return "" if answer.status else answer.output.strip()


def _unless_here(address: str, what: str, remedy: str) -> str | None:
    if not _is_elsewhere(address):
        return None
    shown = client_surroundings().redact(what)
    return f"{ELSEWHERE} ({shown}): {_REMEDY}{remedy}, or run this program there"


def _is_elsewhere(address: str) -> bool:
    """Whether an engine's address names another machine; one without a host is a socket of this one."""
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return bool(host) and host not in {"localhost", "::1", socket.gethostname().lower()} and not _is_loopback(str(host))


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") and host.replace(".", "").isdigit()
