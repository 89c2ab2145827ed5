"""One node as the engine sees it: the command that starts it, and what its labels and its log tell."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from skyward.spi import Instance, InstanceState, Offer, PoolIdentity
from skyward_container._environment import UNSET
from skyward_container._volumes import OPTIONS

__all__ = [
    "CLIENT",
    "FOLDER",
    "PAYLOAD",
    "POOL",
    "Limits",
    "command",
    "host_key",
    "instance",
    "labels",
    "name_of",
    "names_among",
    "network_of",
]

_NAME = re.compile(r"skyward-[A-Za-z0-9_.-]+")
FOLDER = "/run/skyward/node"
"""Where the supervisor of a node has its sockets; `node.sh` looks for its process there."""

PAYLOAD = "/run/skyward/payload"
"""Where a node has skyward: in memory, since some hundred files in a container's own layer took three times as long."""

POOL, OWNER, CLIENT = "skyward.pool", "skyward.owner", "skyward.client"
DEADLINE, NODE = "skyward.deadline", "skyward.node"

_LIVING = {"running": InstanceState.RUNNING, "paused": InstanceState.RUNNING, "restarting": InstanceState.RUNNING}
_COMING = {"created": InstanceState.PENDING, "configured": InstanceState.PENDING, "initialized": InstanceState.PENDING}


@frozen
class Limits:
    """What a container may use: processors, bytes of memory, and bytes of shared memory."""

    cpus: int | None
    memory: int | None
    shared: int


def names_among(ids: Iterable[str]) -> list[str]:
    """Those that a node's container may have: the engine takes others for options, for patterns, or for a mistake."""
    return [name for name in ids if _NAME.fullmatch(name)]


def network_of(pool_id: str) -> str:
    """The name of a pool's network."""
    return "skyward-" + re.sub(r"[^A-Za-z0-9_.-]", "-", pool_id)


def name_of(pool_id: str, node: int) -> str:
    """A name for a container, which no other one has or had; `network_of` leads from it to the network."""
    return f"{network_of(pool_id)}-{node}-{secrets.token_hex(4)}"


def labels(identity: PoolIdentity) -> dict[str, str]:
    """What everything of a pool bears."""
    deadline = "" if identity.deadline is None else f"{identity.deadline:.3f}"
    return {POOL: identity.pool_id, OWNER: identity.owner, CLIENT: identity.client, DEADLINE: deadline}


def command(
    name: str,
    node: int,
    identity: PoolIdentity,
    *,
    image: str,
    switch: str,
    limits: Limits,
    key: str,
    mounting: bool = False,
) -> list[str]:
    """The engine's command that starts a container: with its dead man's switch, and an SSH server that ``key`` opens.

    ``key`` is the public half, and nothing else is a secret either. With ``mounting`` it may mount volumes.
    """
    lifetime = "" if identity.deadline is None else str(max(math.ceil(identity.deadline - time.time()), 1))
    lease = "" if identity.lease is None else str(math.ceil(identity.lease))
    marks = [f"{key}={value}" for key, value in {**labels(identity), NODE: str(node)}.items()]
    return [
        *("run", "--detach", "--rm", "--pull", "never", "--name", name, "--user", "0:0"),
        *("--network", network_of(identity.pool_id), "--publish", "127.0.0.1::22"),
        *(word for mark in marks for word in ("--label", mark)),
        *(() if limits.cpus is None else ("--cpus", str(limits.cpus))),
        *(() if limits.memory is None else ("--memory", str(limits.memory))),
        *UNSET,
        *(OPTIONS if mounting else ()),
        *("--shm-size", str(limits.shared)),
        # Keys stay in memory, and nothing of them in a layer.
        *("--tmpfs", "/run/skyward:mode=0700"),
        # Removing it does not wait for a polite end.
        *("--stop-signal", "KILL"),
        # Its first words are read there, so it must be one that can be read, whatever the engine is set to.
        *("--log-driver", "json-file"),
        *("--entrypoint", "sh", image, "-c", switch, "skyward-node", lifetime, lease, key, name),
    ]


def host_key(name: str, log: str) -> tuple[str, str]:
    """What a container has said of its SSH server: its public key, and what is the matter if it has none.

    Both are empty as long as it has said nothing. ``log`` may be mixed with the logs of others, where
    podman puts the container's id before each line.
    """
    found = re.search(rf"^(?:\S+ )?::node:: {re.escape(name)} (key|failed) (.*)$", log, re.MULTILINE)
    if found is None:
        return "", ""
    said = found[2].strip()
    return (said, "") if found[1] == "key" else ("", said or "it does not say why")


def instance(found: Mapping[str, Any], offers: Mapping[str, Offer]) -> Instance:
    """A container as a machine. Its labels say all that has to be known of it."""
    name = str(found["Name"]).lstrip("/")
    marks: Mapping[str, str] = found["Config"].get("Labels") or {}
    settings: Mapping[str, Any] = found.get("NetworkSettings") or {}
    status = str(found["State"].get("Status", "")).lower()
    state = _LIVING.get(status) or _COMING.get(status) or InstanceState.GONE
    published = _port(settings)
    network = (settings.get("Networks") or {}).get(network_of(marks.get(POOL, ""))) or {}
    if state is InstanceState.RUNNING and published is None:
        state = InstanceState.PENDING
    deadline, node = marks.get(DEADLINE, ""), marks.get(NODE, "")
    return Instance(
        id=name,
        state=state,
        pool_id=marks.get(POOL, ""),
        node=int(node) if node.isdigit() else 0,
        offer=offers.get(name),
        ip=None if published is None else "127.0.0.1",
        private_ip=network.get("IPAddress") or None,
        deadline=float(deadline) if deadline else None,
        owner=marks.get(OWNER, ""),
        client=marks.get(CLIENT, ""),
        details={} if published is None else {"port": published},
    )


def _port(settings: Mapping[str, Any]) -> int | None:
    """The port of this machine that leads to a container's SSH server."""
    for binding in (settings.get("Ports") or {}).get("22/tcp") or ():
        if str(binding.get("HostPort", "")).isdigit():
            return int(binding["HostPort"])
    return None
