"""The instances of one pool: offered, rented, looked at, destroyed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from attrs import frozen

from skyward.spi import (
    ComputeSpec,
    Instance,
    InstanceState,
    MachineLabel,
    Offer,
    Order,
    PoolIdentity,
    RestClient,
    RestSession,
    bearer,
    first_boot_script,
)
from skyward_vastai._credentials import address, key
from skyward_vastai._instances import LABEL_LIMIT, Made, contract, machine
from skyward_vastai._limits import PACES, REMEDY, explained
from skyward_vastai._market import Searches
from skyward_vastai._offers import offers_of
from skyward_vastai._onstart import END, onstart
from skyward_vastai._settings import VastAI

__all__ = ["VastAISession", "client", "opened"]

_log = logging.getLogger("skyward.vastai")

_PAGE = 25
"""Instances that one answer has at most."""


@frozen
class _Shown:
    """One instance; ``None`` for one that is gone."""

    instances: dict[str, Any] | None


def client(settings: VastAI) -> RestClient:
    """The account.

    Raises:
        AuthenticationFailed: there is no key.
    """
    return RestClient(
        "Vast.ai",
        address(settings),
        authorize=bearer(key()),
        explain=explained,
        paces=PACES,
        remedy=REMEDY,
    )


async def opened(settings: VastAI, identity: PoolIdentity) -> VastAISession:
    """A session with an account that has answered; see `VastAI.open`."""
    rest = client(settings)
    try:
        await rest.ask("GET", "/api/v0/users/current/")
    except BaseException:
        await rest.aclose()
        raise
    return VastAISession(settings, identity, rest)


class VastAISession(RestSession[VastAI]):
    """Serves one pool. Machines are rented one by one: each offer is one machine, and two orders are 4.5 s apart."""

    def __init__(self, settings: VastAI, identity: PoolIdentity, rest: RestClient) -> None:
        super().__init__(settings, identity, rest)
        self._searches = Searches(rest, settings)
        self._destroyed: set[str] = set()
        self._failed: set[int] = set()  # hosts whose instances have died by themselves, of this pool

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What is for rent that meets the request, the cheapest first."""
        fixed = await self._searches.found(spec, "on-demand")
        bids = await self._searches.found(spec, "spot")
        return offers_of(fixed, bids, spec, self.settings, avoided=self._failed)

    # ---- renting

    def _switch(self, lifetime: float | None) -> str:
        return first_boot_script(lifetime=lifetime, lease=self.identity.lease, user=self.user, end=END)

    async def _create(self, order: Order) -> Instance:
        ask = order.offer.details["ask"]
        self._searches.drop(ask)
        body = contract(order, self.settings, onstart(order.script, order.key, self.rest.endpoint))
        made = await self.rest.create(
            "PUT",
            f"/api/v0/asks/{ask}/",
            body=body,
            into=Made,
            find=partial(self._made, body["label"]),
        )
        if made.instance_api_key:
            self.rest.hide(made.instance_api_key)
        return order.label.instance(str(made.new_contract), InstanceState.PENDING, details={"status": "ordered"})

    async def _made(self, label: str) -> Made | None:
        """The instance that bears exactly this label, which only one order has given."""
        rows = await self._rows({"label": {"eq": label}})
        return next((Made(int(row["id"])) for row in rows if row.get("label") == label), None)

    async def _complete(self, order: Order, machine: Instance) -> Instance:
        """Let the pool's client in, at this instance alone: the account keeps no key."""
        await self.rest.ask("POST", f"{_path(machine.id)}ssh/", body={"ssh_key": order.key.public})
        return machine

    # ---- looking

    async def _machines(self) -> Iterable[Instance]:
        found = [machine(row) for row in await self._rows()]
        # A list may go on telling that one is dead when it is destroyed.
        over = {each.id for each in found if each is not None and each.state is InstanceState.GONE} & self._destroyed
        return [each for each in found if each is not None and each.id not in over]

    async def _look(self, id: str) -> Instance | None:  # noqa: A002  as Instance calls it
        """One instance, which may not be in the list yet: here Vast.ai's word counts from the order on."""
        if not id.isdecimal() or id in self._destroyed:
            return None
        row = (await self.rest.ask("GET", _path(id), params={"owner": "me"}, into=_Shown)).instances
        if row is None:
            self.known.ending([id])
        return None if row is None else machine(row)

    async def _rows(self, filters: Mapping[str, object] | None = None) -> list[Mapping[str, Any]]:
        return await self.rest.pages(
            "/api/v1/instances/",
            params={"limit": _PAGE, "select_filters": json.dumps(filters) if filters else None},
            items=lambda page: page["instances"],
            next=lambda page: {"after_token": page["next_token"]} if page.get("next_token") else None,
        )

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """The present state of instances. The hosts of those of this pool that have failed are avoided from now on."""
        found = await super().describe(ids)
        for each in found.values():
            if each.state is InstanceState.GONE and each.pool_id == self.identity.pool_id:
                self._note(each)
        return found

    def _note(self, instance: Instance) -> None:
        status, host = instance.details["status"], instance.details.get("machine")
        bid = instance.details.get("market") == "spot" and status == "stopped"
        _log.warning(
            "instance %s is %s: it %s; it is destroyed, since its disk is billed",
            instance.id,
            status,
            "was outbid" if bid else "or its host has failed",
        )
        if isinstance(host, int) and not bid:
            self._failed.add(host)

    # ---- ending

    async def _delete(self, id: str) -> None:  # noqa: A002  as Instance calls it
        if id not in self._destroyed:
            await self.rest.ask("DELETE", _path(id), body={}, absent=None)
            self._destroyed.add(id)

    async def _relabel(self, id: str, label: MachineLabel) -> None:  # noqa: A002  as above
        await self.rest.ask("PUT", _path(id), body={"label": label.text(LABEL_LIMIT)}, absent=None)


def _path(name: str) -> str:
    return f"/api/v0/instances/{quote(name, safe='')}/"
