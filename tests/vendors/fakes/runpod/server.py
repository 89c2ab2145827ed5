"""The server: pods, from the order to the end."""

from __future__ import annotations

import secrets
import shlex
from typing import Any, override

from fakes.machines import FakeMachines
from fakes.schema import Schema
from fakes.server import Refusal, Reply, Request, VendorServer, route

from .catalogue import CENTERS, Cpu, Gpu, cpus, gpus, told_cpu, told_gpu, version
from .pods import Pod, stranger, told

__all__ = ["LOW_BALANCE", "SOLD_OUT", "Fake", "refusal"]

_PORT = 40022
"""The public port behind which a pod's port 22 is, at an address of its own."""
_KIND = {"Content-Type": "application/problem+json"}
_POLICY = '"minute";q=60;w=60, "hour";q=3000;w=3600, "day";q=50000;w=86400'
_TITLES = {
    400: ("Bad Request", "request could not be processed"),
    401: ("Unauthorized", "missing bearer token"),
    402: ("Payment Required", "insufficient balance"),
    403: ("Forbidden", "access denied"),
    404: ("Not Found", "resource not found"),
    409: ("Conflict", "pod belongs to a cluster"),
    422: ("Unprocessable Entity", "Request validation failed."),
    429: ("Too Many Requests", "rate limit exceeded for the minute window"),
}


def refusal(status: int, detail: str | None = None, errors: list[str] | None = None) -> Reply:
    """What RunPod says with a status."""
    title, usual = _TITLES.get(status, ("Internal Server Error", "Something went wrong. Please try again later."))
    body: dict[str, Any] = {"title": title, "status": status, "detail": detail or usual}
    return Reply(status, {**body, "errors": errors} if errors else body, _KIND)


SOLD_OUT = refusal(
    400, "There are no longer any instances available with the requested specifications. Please refresh and try again."
).body
LOW_BALANCE = refusal(402, "Your account balance is too low to create this pod.").body


class Fake(VendorServer):
    """One account, with strangers in it.

    Attributes:
        token: the account's key.
        boot_looks: how many looks at a pod find it on its way.
        list_lag: how many lists do not tell of a new pod.
        page_size: pods of one page of a list; ``None`` for one page, as the published schema has it.
        stuck: how many of the next pods never run.
        slow: how many of the next pods take four looks more.
        unreachable: how many of the next pods run and never get a public port.
        volumes: the account's network volumes, by id, with their data centres.
        keys_replaced: whether somebody has changed the SSH keys of the account.
    """

    schema = Schema.load("runpod_openapi_v2.json")

    def __init__(self, machines: FakeMachines) -> None:
        self.machines = machines
        self.token = f"rpa_{secrets.token_hex(20)}"
        self.boot_looks = 2
        self.list_lag = 0
        self.page_size: int | None = None
        self.stuck = self.slow = self.unreachable = 0
        self.gpus, self.cpus = gpus(), cpus()
        self.volumes = {"agv6w2qcg7": "EU-RO-1"}
        self.keys_replaced = False
        self.pods: dict[str, Pod] = {
            each.id: each
            for each in (
                stranger(1),
                stranger(2, name="skyward-notes", status="EXITED"),
                stranger(3, name="skyward-old-0-12345678 until never", center=None),
            )
        }
        super().__init__(machines.address)

    @property
    def environment(self) -> dict[str, str]:
        """By what clients find it, and may ask."""
        return {"RUNPOD_API_KEY": self.token, "SKYWARD_RUNPOD_ENDPOINT": self.endpoint}

    # ---- what every question meets

    @override
    def authorize(self, request: Request) -> Reply | None:
        if request.bearer == self.token:
            return None
        mine = [pod for pod in self.pods.values() if request.bearer and pod.key == request.bearer]
        if not mine:
            return refusal(401, "invalid bearer token" if request.bearer else None)
        return None if request.path == f"/v2/pods/{mine[0].id}" else refusal(403)

    @override
    def problem(self, status: int) -> Reply:
        reply = refusal(status)
        pause = {"Retry-After": "1", "RateLimit": '"minute";r=0;t=1', "RateLimit-Policy": _POLICY}
        return Reply(status, reply.body, {**reply.headers, **pause}) if status == 429 else reply

    @override
    def unfit(self, request: Request, problems: list[str]) -> Reply | None:
        return refusal(422, errors=problems)

    @override
    def strangers(self) -> object:
        told_of = sorted((pod.id, pod.name, pod.status) for pod in self.pods.values() if pod.strange)
        return told_of, self.volumes, self.keys_replaced

    # ---- the catalogue

    @route("GET", "/v2/catalog/gpus")
    def list_gpus(self, request: Request) -> Reply:
        query = request.query
        asked = query.get("include") == "AVAILABILITY"
        if asked != ("product" in query) or (not asked and set(query) & {"count", "cloud", "minCudaVersion"}):
            return refusal(400, "include=AVAILABILITY and product go together, and filters with them")
        count = int(query.get("count", 1)) if asked else 0
        cloud = query.get("cloud", "SECURE").lower()
        least = query.get("minCudaVersion")
        return Reply(
            body={"gpus": [told_gpu(each, count=count, cloud=cloud, least_cuda=least) for each in self.gpus.values()]}
        )

    @route("GET", "/v2/catalog/cpus")
    def list_cpus(self, request: Request) -> Reply:
        asked = request.query.get("include") == "AVAILABILITY"
        if asked != ("product" in request.query):
            return refusal(400, "include=AVAILABILITY and product go together")
        return Reply(body={"cpus": [told_cpu(each, stock=asked) for each in self.cpus.values()]})

    @route("GET", "/v2/catalog/datacenters")
    def list_centers(self, request: Request) -> Reply:
        centers = [
            {
                "id": name,
                "name": name.title(),
                "region": "EUROPE" if name.startswith("EU") else "NORTH_AMERICA",
                "globalNetwork": network,
                "networkVolumeTypes": ["STANDARD"],
                "compliance": [],
            }
            for name, network in CENTERS.items()
        ]
        return Reply(body={"dataCenters": centers})

    @route("GET", "/v2/network-volumes/{id}")
    def get_volume(self, request: Request) -> Reply:
        name = request.args["id"]
        if name not in self.volumes:
            return refusal(404)
        volume = {"id": name, "name": "data", "size": 50, "dataCenter": self.volumes[name], "type": "STANDARD"}
        return Reply(body=volume)

    @route("PUT", "/v2/account/ssh-keys")
    def replace_keys(self, request: Request) -> Reply:
        self.keys_replaced = True
        return Reply(body={"keys": request.body["keys"]})

    # ---- pods

    @route("GET", "/v2/pods")
    def list_pods(self, request: Request) -> Reply:
        found = []
        for pod in self.pods.values():
            pod.listed += 1
            if pod.listed > pod.lag:
                found.append(pod)
        begin = int(request.query.get("cursor", 0))
        size = self.page_size or len(found)
        more = {"nextCursor": str(begin + size)} if begin + size < len(found) else {}
        return Reply(body={"pods": [self._looked(pod) for pod in found[begin : begin + size]], **more})

    @route("GET", "/v2/pods/{id}")
    def get_pod(self, request: Request) -> Reply:
        return Reply(body=self._looked(self._named(request)))

    @route("PATCH", "/v2/pods/{id}")
    def update_pod(self, request: Request) -> Reply:
        pod = self._named(request)
        body = dict(request.body)
        pod.name = body.pop("name", pod.name)
        if body:  # whatever else changes has the container started anew, which loses what runs in it
            pod.order = {**pod.order, **body}
            pod.status, pod.port, pod.looks = "STARTING", pod.port + 1, 2
        return Reply(body=told(pod))

    @route("DELETE", "/v2/pods/{id}")
    def delete_pod(self, request: Request) -> Reply:
        pod = self._named(request)
        del self.pods[pod.id]
        self._end(pod)
        return Reply(204)

    @route("POST", "/v2/pods")
    def create_pod(self, request: Request) -> Reply:
        order = dict(request.body)
        cost, center, memory = self._placed(order)
        pod = Pod(
            id=secrets.token_hex(7),
            name=order["name"],
            order=order,
            key=f"rpa_{secrets.token_hex(20)}",
            cost=cost,
            center=center,
            memory=memory,
            looks=self.boot_looks,
            lag=self.list_lag,
            private=f"10.65.1.{len(self.pods) + 1}" if order.get("globalNetworking") else None,
        )
        if self.stuck:
            self.stuck -= 1
            pod.looks = 10**9
        elif self.slow:
            self.slow -= 1
            pod.looks += 4
        elif self.unreachable:
            self.unreachable -= 1
            pod.reachable = False
        self.pods[pod.id] = pod
        self._start(pod)
        return Reply(201, told(pod))

    # ---- what becomes of pods

    def _start(self, pod: Pod) -> None:
        """Start its container, which is told where it is and given its key, as RunPod does it."""
        env = {**pod.env, "RUNPOD_POD_ID": pod.id, "RUNPOD_API_KEY": pod.key}
        machine = self.machines.start(
            pod.id, args=tuple(shlex.split(pod.order.get("args", ""))), env=env, port=_PORT, ended=self.stop
        )
        pod.host, pod.port = machine.host, machine.port

    def stop(self, name: str) -> None:
        """What befalls a pod whose account has run out of money, or whose host failed: it is there, and idle."""
        with self.lock:
            if name in self.pods:
                self.pods[name].status = "EXITED"

    def remove(self, name: str) -> None:
        """What befalls a pod that somebody deletes in the console."""
        with self.lock:
            if pod := self.pods.pop(name, None):
                self._end(pod)

    def _end(self, pod: Pod) -> None:
        if pod.id in self.machines:
            self.machines.end(pod.id)

    @property
    def ours(self) -> dict[str, Pod]:
        """The pods that are no strangers'."""
        with self.lock:
            return {name: pod for name, pod in self.pods.items() if not pod.strange}

    # ---- inside

    def _looked(self, pod: Pod) -> dict[str, Any]:
        if pod.status in ("PROVISIONING", "STARTING"):
            pod.looks -= 1
            pod.status = "RUNNING" if pod.looks < 0 else "STARTING" if pod.looks < 10**6 else pod.status
        return told(pod)

    def _named(self, request: Request) -> Pod:
        pod = self.pods.get(request.args["id"])
        if pod is None:
            reply = refusal(404, "pod not found")
            raise Refusal(reply.status, reply.body, reply.headers)
        return pod

    def _placed(self, order: dict[str, Any]) -> tuple[float, str, int]:
        """What an order costs, where it goes, and the memory of a pod without GPUs; what cannot be is refused."""
        if ("gpu" in order) == ("cpu" in order):
            raise _refused(400, "exactly one of gpu or cpu must be set")
        if strange := set(order.get("dataCenterIds", ())) - set(CENTERS):
            raise _refused(400, f"unknown data center {min(strange)}")
        wanted = list(order.get("dataCenterIds") or CENTERS)
        for mount in order.get("mounts", {}).get("network", ()):
            if self.volumes.get(mount["volumeId"]) is None:
                raise _refused(404, "network volume not found")
            wanted = [each for each in wanted if each == self.volumes[mount["volumeId"]]]
        if order.get("globalNetworking"):
            wanted = [each for each in wanted if CENTERS[each]]
        return self._of_gpus(order, wanted) if "gpu" in order else self._of_cpus(order, wanted)

    def _of_gpus(self, order: dict[str, Any], wanted: list[str]) -> tuple[float, str, int]:
        gpu: Gpu | None = self.gpus.get(order["gpu"]["id"])
        count, cloud = order["gpu"].get("count", 1), order.get("cloud", "SECURE").lower()
        if gpu is None:
            raise _refused(400, "gpu type not found")
        if order.get("globalNetworking") and gpu.manufacturer != "NVIDIA":
            raise _refused(400, "global networking needs an NVIDIA GPU")
        least = order["gpu"].get("minCudaVersion")
        fits = least is None or any(version(each) >= version(least) for each in gpu.cuda)
        there = [each for each in wanted if gpu.stock.get(cloud, {}).get(each, "NONE") != "NONE"]
        if not there or not fits or count > gpu.most[cloud]:
            raise _refused(400, SOLD_OUT["detail"])
        return gpu.price[cloud] * count, there[0], 0

    def _of_cpus(self, order: dict[str, Any], wanted: list[str]) -> tuple[float, str, int]:
        cpu: Cpu | None = self.cpus.get(order["cpu"]["id"])
        count = order["cpu"]["vcpuCount"]
        if cpu is None or count & (count - 1) or not cpu.least <= count <= cpu.most:
            raise _refused(400, "invalid cpu flavor or vcpu count")
        if order.get("cloud") == "COMMUNITY" or order.get("disk", 1) > cpu.disk * count:
            raise _refused(400, f"a disk of {order.get('disk')} GB is too large, or the cloud has no CPU pods")
        there = [each for each in wanted if cpu.stock.get(each, "NONE") != "NONE"]
        if not there:
            raise _refused(400, SOLD_OUT["detail"])
        return cpu.price * count, there[0], int(cpu.ram * count)


def _refused(status: int, detail: str) -> Refusal:
    reply = refusal(status, detail)
    return Refusal(reply.status, reply.body, reply.headers)
