"""Mistakes in what is sold and bought."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from planted import Mistake, caught
from skyward_acme.session import Kind, Machine, explain

import skyward as sky
from skyward.spi import Answer, ComputeSpec, Instance, LaunchRequest, MachineLabel, Offer, Order


@caught("an_impossible_request_gets_no_offer", "offer.* came for a request that cannot be met")
class Generous(Mistake):
    """Core looks at what fits, surely."""

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        kinds = await self.rest.ask("GET", "/v1/kinds", into=list[Kind])
        return [kind.offer(self.settings.region, "on-demand") for kind in kinds]


@caught("a_lost_reply_makes_no_second_machine", "2 creates reached the vendor for one machine after a lost reply")
class Persistent(Mistake):
    """A request that fails is sent again, and so is this one."""

    async def _create(self, order: Order) -> Instance:
        body = {"kind": order.offer.instance_type, "label": order.label.text(), "boot_script": order.script}
        made = await self.rest.ask("POST", "/v1/machines", body=body, into=Machine)
        return made.instance(order.label)


@caught(
    "a_cancelled_launch_leaves_no_machine_that_is_not_found",
    r"m-\d+ exists after a cancelled call and list_owned does not find it",
)
class Afterthought(Mistake):
    """The label comes with the next request."""

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        launched: list[Instance] = []
        for node in request.nodes:
            label = MachineLabel.of(self.identity, node)
            body = {"kind": request.offer.instance_type, "label": None, "boot_script": ""}
            made = await self.rest.ask("POST", "/v1/machines", body=body, into=Machine)
            await self._relabel(made.id, label)
            launched.append(made.instance(label))
        return launched


@caught("a_partial_launch_loses_none_of_those_that_came", r"left m-\d+ behind when fewer machines came")
class AllOrNothing(Mistake):
    """A pool of half its size is of use to nobody."""

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        made = await super().launch(request)
        if len(made) < len(request.nodes):
            raise sky.Unavailable(f"Acme has {len(made)} machines only")
        return made


@caught("capacity_that_is_gone_is_unavailable", "launch raised ProviderError: .*; raise")
class Wordless(Mistake):
    """The statuses of HTTP say all."""

    @staticmethod
    def explains(answer: Answer) -> Any:
        return None


@caught("a_quota_is_told_as_one", "launch gave Unavailable: .*; raise QuotaExceeded")
class Lumping(Mistake):
    """Whatever it was, there is no machine."""

    @staticmethod
    def explains(answer: Answer) -> Any:
        told = explain(answer)
        return sky.Unavailable(told.message) if isinstance(told, sky.QuotaExceeded) else told


@caught("a_question_too_many_is_answered_in_the_end", "when a request was refused as one too many; raise Transient")
class Touchy(Mistake):
    """Slow down? Then somebody else may serve."""

    @staticmethod
    def explains(answer: Answer) -> Any:
        return sky.Unavailable("Acme is busy") if answer.code == "slow_down" else explain(answer)


@caught("credentials_that_are_refused_in_mid_life_are_told", "describe gave Transient.* with credentials that are refu")
class Hopeful(Mistake):
    """Acme's tokens are refused now and then; it passes."""

    async def _all(self) -> list[Machine]:
        try:
            return await super()._all()
        except sky.AuthenticationFailed as error:
            raise sky.Transient(error.message) from None


@caught("a_cancelled_launch_leaves_no_machine_that_is_not_found", "launch went on as if nothing were when it was cance")
class Stubborn(Mistake):
    """An order is an order."""

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        task = asyncio.ensure_future(super().launch(request))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            return await task
