"""Ordering machines: one request for all types and zones that will do, whose outcome is known for certain."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skyward import ProviderError
from skyward.spi import Market, Offer
from skyward_aws._belongings import name_of
from skyward_aws._errors import Unclear
from skyward_aws._launch import Bought, bought, fleet, reasons
from skyward_aws._tags import ORDER, POOL, specification

if TYPE_CHECKING:
    from skyward_aws._api import Api

__all__ = ["Ordered", "order"]

_log = logging.getLogger("skyward.aws")

_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each look for what an unclear order has created: AWS lists a new machine after seconds."""


class Ordered:
    """What came of an order: the machines, and why there are no more of them, if so."""

    def __init__(self, machines: Sequence[Bought], why: ProviderError | None) -> None:
        self.machines = list(machines)
        self.why = why


async def order(
    api: Api,
    offers: Sequence[Offer],
    data: Mapping[str, tuple[Mapping[str, Any], Sequence[Offer]]],
    subnets: Mapping[str, str],
    *,
    nodes: int,
    market: Market,
    max_price: float | None,
    tags: Mapping[str, str],
) -> Ordered:
    """Buy machines. The launch templates are gone afterwards: their machines do not need them.

    Args:
        api: the account.
        offers: what will do, in the order in which it is wanted.
        data: by any name, the data of a launch template and the offers that it is for.
        subnets: a subnet for each zone.
        nodes: how many machines.
        market: on which they are bought.
        max_price: as of `fleet`.
        tags: of everything.

    Raises:
        Transient: nothing was bought.
        AuthenticationFailed: likewise, for want of a permission.
    """
    token = secrets.token_hex(16)
    named = {f"{name_of(tags[POOL])}-{token[:8]}-{suffix}": each for suffix, each in data.items()}
    try:
        templates = {await _template(api, name, content, tags, token): row for name, (content, row) in named.items()}
        request = fleet(
            offers, templates, subnets, nodes=nodes, market=market, max_price=max_price, tags=tags, token=token
        )
        try:
            answer = await api.order("create_fleet", **request)
        except Unclear as error:
            _log.warning("looking for machines whose order got no clear answer: %s", error)
            return Ordered(await _found(api, token, nodes, error), error)
        why = reasons(answer, offers, subnets, api.region)
        return Ordered(bought(answer), why)
    finally:
        await asyncio.gather(*(_discard(api, name) for name in named))


async def _template(api: Api, name: str, data: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
    """Make a launch template, whose machines bear the order's token beside the tags; its id."""
    marked = [{**each, "Tags": [*each["Tags"], {"Key": ORDER, "Value": token}]} for each in data["TagSpecifications"]]
    answer = await api.order(
        "create_launch_template",
        LaunchTemplateName=name,
        LaunchTemplateData={**data, "TagSpecifications": marked},
        TagSpecifications=specification(tags, "launch-template"),
    )
    return str(answer["LaunchTemplate"]["LaunchTemplateId"])


async def _discard(api: Api, name: str) -> None:
    """Remove a launch template. What fails here is done with the pool's other belongings, which are found by tag."""
    try:
        await api.ask("delete_launch_template", LaunchTemplateName=name)
    except ProviderError as error:
        if "NotFound" not in str(error):
            _log.debug("the launch template %s stays for now: %s", name, error)


async def _found(api: Api, token: str, nodes: int, error: Unclear) -> list[Bought]:
    """The machines of an order without an answer, by its token.

    Raises:
        Unclear: there are none.
    """
    machines: list[Bought] = []
    for pause in _LOOKS:
        await asyncio.sleep(pause)
        rows = await api.pages(
            "describe_instances",
            "Reservations",
            Filters=[
                {"Name": f"tag:{ORDER}", "Values": [token]},
                {"Name": "instance-state-name", "Values": ["pending", "running"]},
            ],
        )
        machines = [
            Bought(each["InstanceId"], each.get("InstanceType", ""), each.get("SubnetId", ""))
            for row in rows
            for each in row["Instances"]
        ]
        if len(machines) >= nodes:
            return machines
    if not machines:
        raise error
    return machines
