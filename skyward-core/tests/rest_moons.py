"""A vendor of moons: its API, and the session that its package would have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from attrs import frozen
from rest_server import RestServer, Seen

from skyward import Image
from skyward.errors import Unavailable
from skyward.spi import (
    Answer,
    Capabilities,
    ComputeSpec,
    Instance,
    InstanceState,
    LaunchRequest,
    MachineLabel,
    Offer,
    Order,
    Pace,
    PoolIdentity,
    RestClient,
    RestSession,
    bearer,
)

TOKEN = "moon-token-5ecret-0815"
STATES = {"rising": InstanceState.PENDING, "up": InstanceState.RUNNING}


class MoonServer(RestServer):
    """Moons and keys of an account, a stranger's moon among them."""

    def __init__(self) -> None:
        super().__init__()
        self.moons: dict[str, dict[str, Any]] = {
            "m0": {"id": "m0", "label": "skyward-of-a-stranger", "state": "up", "ip": "10.9.9.9"}
        }
        self.keys: set[str] = set()
        self.unlisted = 0
        """So many lists do not have the newest moon yet."""
        self.lingers = 0
        """So many looks at a moon that was ended find it still there."""
        self.capacity = 100
        self._ids = 0
        self._ending: dict[str, int] = {}

    @property
    def ours(self) -> list[str]:
        return sorted(each["id"] for each in self.moons.values() if MachineLabel.read(each["label"]))

    def reply(self, seen: Seen) -> tuple[int, object]:
        method, kind, name = seen.method, *(unquote(part) for part in (*seen.path.split("/"), "")[1:3])
        if kind == "keys":
            return self._key(method, name or seen.body["name"])
        if method == "POST":
            return self._make(seen.body)
        if method == "GET" and not name:
            return 200, {"moons": self._listed()}
        moon = self.moons.get(name)
        if moon is None:
            return 404, {"message": f"there is no moon {name}"}
        if method == "PATCH":
            moon["label"] = seen.body["label"]
        if method == "DELETE":
            self._ending.setdefault(name, self.lingers)
            self._set()
            return 202, None
        answer = dict(moon)
        self._set()
        return 200, answer

    def _set(self) -> None:
        """Time passes: moons that rise are up, and some that were ended are gone."""
        for moon in self.moons.values():
            moon["state"] = "up" if moon["state"] == "rising" else moon["state"]
        for name, looks in list(self._ending.items()):
            self._ending[name] = looks - 1
            if looks <= 0:
                self.moons.pop(name, None)
                del self._ending[name]

    def _key(self, method: str, name: str) -> tuple[int, object]:
        (self.keys.discard if method == "DELETE" else self.keys.add)(name)
        return 200, {"name": name}

    def _make(self, body: dict[str, Any]) -> tuple[int, object]:
        if len(self.ours) >= self.capacity:
            return 409, {"message": "no room in the sky"}
        self._ids += 1
        moon = {"id": f"m{self._ids}", "label": body["label"], "state": "rising", "ip": f"10.0.0.{self._ids}"}
        self.moons[moon["id"]] = moon
        return 201, moon

    def _listed(self) -> list[dict[str, Any]]:
        self.unlisted -= 1
        listed = [dict(each) for each in self.moons.values()][: -1 if self.unlisted >= 0 else None]
        self._set()
        return listed


@frozen
class Moons:
    endpoint: str
    name: ClassVar[str] = "Moons"
    capabilities: ClassVar[Capabilities] = Capabilities()

    async def open(self, identity: PoolIdentity, /) -> MoonSession:
        def explain(answer: Answer) -> Unavailable | None:
            return Unavailable(f"Moons: {answer.words}") if answer.status == 409 else None

        rest = RestClient("Moons", self.endpoint, authorize=bearer(TOKEN), explain=explain, paces=[Pace(interval=0.01)])
        return MoonSession(self, identity, rest)


@frozen
class Facts:
    id: str
    label: str
    state: str
    ip: str | None = None


class MoonSession(RestSession[Moons]):
    injects_host_keys = True

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        return [OFFER]

    async def _prepare(self) -> None:
        await self.rest.ask("POST", "/keys", body={"name": self.identity.pool_id, "key": (await self.key()).public})

    async def _clear(self, pool_id: str) -> None:
        await self.rest.ask("DELETE", f"/keys/{quote(pool_id, safe='')}", absent=None)

    async def _create(self, order: Order) -> Instance:
        async def find() -> Facts | None:
            return next((each for each in await self._listed() if each.label == label), None)

        assert order.host_key is not None
        label = order.label.text()
        body = {"label": label, "script": order.script, "host_key": order.host_key.private}
        made = await self.rest.create("POST", "/moons", body=body, into=Facts, find=find)
        return self._told(made, order.label)

    async def _listed(self) -> list[Facts]:
        page = await self.rest.ask("GET", "/moons", into=dict[str, list[Facts]])
        return page["moons"]

    async def _machines(self) -> Iterable[Instance]:
        return [self._told(each, label) for each in await self._listed() if (label := MachineLabel.read(each.label))]

    async def _look(self, id: str) -> Instance | None:  # noqa: A002
        found = await self.rest.ask("GET", f"/moons/{quote(id, safe='')}", into=Facts, absent=None)
        label = None if found is None else MachineLabel.read(found.label)
        return None if found is None or label is None else self._told(found, label)

    def _told(self, facts: Facts, label: MachineLabel) -> Instance:
        billed = {"billed": True} if facts.state == "waning" else {}
        return label.instance(facts.id, STATES.get(facts.state, InstanceState.GONE), ip=facts.ip, details=billed)

    async def _delete(self, id: str) -> None:  # noqa: A002
        await self.rest.ask("DELETE", f"/moons/{quote(id, safe='')}", absent=None)

    async def _relabel(self, id: str, label: MachineLabel) -> None:  # noqa: A002
        await self.rest.ask("PATCH", f"/moons/{quote(id, safe='')}", body={"label": label.text()}, absent=None)


OFFER = Offer(provider="Moons", instance_type="full", region="sky", price=1.0)


def identity(pool_id: str = "a1b2c3d4e5", *, deadline: float | None = 1_900_000_000.0) -> PoolIdentity:
    return PoolIdentity(
        pool_id=pool_id, owner="ada@host", deadline=deadline, lease=600, token=b"pool-t0ken", client="abc-1-2"
    )


def request(nodes: int = 1, *, first: int = 0) -> LaunchRequest:
    return LaunchRequest(
        offer=OFFER, nodes=tuple(range(first, first + nodes)), spec=ComputeSpec(nodes=nodes, image=Image())
    )
