"""One pod, and what the API tells of it."""

from __future__ import annotations

from typing import Any

from attrs import define

__all__ = ["Pod", "stranger", "told"]

_ACTIONS = {"RUNNING": ["stop", "restart", "terminate"], "EXITED": ["start", "terminate"]}


@define(eq=False)
class Pod:
    """A pod.

    Attributes:
        order: the body that it was ordered by.
        key: the key of its own that it finds in its environment, by which it may ask for itself alone.
        cost: US dollars an hour.
        looks: how many looks at it find it on its way.
        lag: how many lists do not tell of it.
        listed: how many lists there were since it is there.
        reachable: whether its SSH server has a public port, once it runs.
        strange: nobody's business here.
    """

    id: str
    name: str
    order: dict[str, Any]
    key: str
    cost: float
    center: str | None = "EU-RO-1"
    memory: int = 4
    status: str = "PROVISIONING"
    looks: int = 0
    lag: int = 0
    listed: int = 0
    host: str = "127.0.0.1"
    port: int = 1
    private: str | None = None
    reachable: bool = True
    strange: bool = False

    @property
    def env(self) -> dict[str, str]:
        """Its variables, as they were ordered."""
        return dict(self.order.get("env", {}))


def stranger(number: int, **changes: Any) -> Pod:
    """A pod of somebody else's, with the same account."""
    order = {"image": "runpod/pytorch:1.0.2", "gpu": {"id": "NVIDIA L4", "count": 1}, "env": {"MODEL_NAME": "llama-3"}}
    made = Pod(f"stranger{number}", "pytorch-training", order, f"rpa_stranger{number}", 0.39, status="RUNNING")
    made.strange = True
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def told(pod: Pod) -> dict[str, Any]:
    """The pod as the API tells it."""
    order = pod.order
    reached = pod.status == "RUNNING" and pod.reachable and "22/tcp" in order.get("ports", ())
    direct = {
        "host": pod.host,
        "port": pod.port,
        "username": "root",
        "command": f"ssh root@{pod.host} -p {pod.port}",
    }
    proxy = {
        "host": "ssh.runpod.io",
        "port": 22,
        "username": f"{pod.id}-64411eb2",
        "command": f"ssh {pod.id}-64411eb2@ssh.runpod.io",
    }
    runs = pod.status == "RUNNING"
    ports = [{"private": 22, "public": pod.port, "type": "tcp", "ip": pod.host}] if reached else []
    private = {"ip": pod.private, "internalDns": f"{pod.id}.runpod.internal"} if pod.private else {}
    cpu = {**order["cpu"], "memory": pod.memory} if "cpu" in order else None
    return {
        "id": pod.id,
        "name": pod.name,
        "status": pod.status,
        "actions": _ACTIONS.get(pod.status, ["terminate"]),
        "image": order.get("image", ""),
        "args": order.get("args", ""),
        "disk": order.get("disk", 20),
        "mounts": order.get("mounts", {}),
        "ports": order.get("ports", []),
        "env": pod.env,
        "registry": order.get("registry"),
        "cloud": order.get("cloud", "SECURE"),
        "dataCenterId": pod.center,
        "cudaVersion": "12.8" if "gpu" in order else None,
        "ssh": {"proxy": proxy, "direct": direct if reached else None},
        "template": None,
        "cost": pod.cost if runs or pod.status in ("PROVISIONING", "STARTING") else 0.0,
        "locked": False,
        "runtime": {"uptime": 60, "ports": ports} if runs else None,
        "createdAt": "2026-11-22T10:00:00Z",
        "startedAt": "2026-11-22T10:00:30Z" if runs else None,
        "globalNetworking": {"enabled": pod.private is not None, **private},
        **({"cpu": cpu} if cpu else {"gpu": {"count": 1, **_plain(order.get("gpu", {}))}}),
    }


def _plain(gpu: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in gpu.items() if name in ("id", "count")}
