"""Mistakes in what is told, and in what stays behind."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from planted import Mistake, caught

import skyward as sky
from skyward.spi import ComputeSpec, Instance, Offer


@caught("the_first_boot_tells_a_machine_its_end", r"m-\d+ is given for its first boot does not tell its deadline")
class Immortal(Mistake):
    """The client ends its machines."""

    def _switch(self, lifetime: float | None) -> str:
        return "#!/bin/sh\nexit 0\n"


@caught("what_a_machine_is_given_has_no_credentials", r"what m-\d+ is given for its first boot tells a credential")
class Handing(Mistake):
    """So that it can end itself by the API."""

    def _switch(self, lifetime: float | None) -> str:
        return f"#!/bin/sh\nexport ACME_TOKEN={os.environ['ACME_TOKEN']}\n"


@caught("credentials_are_told_to_nobody", "a log record tells a credential")
class Chatty(Mistake):
    """For whoever looks for an error."""

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        headers = {"Authorization": f"Bearer {os.environ['ACME_TOKEN']}"}
        logging.getLogger("acme").debug("GET /v1/kinds with %s", headers)
        return await super().offers(spec)


@caught("errors_tell_no_credentials_and_pickle", "an error tells a credential")
class Helpful(Mistake):
    """Then the user sees which token it was."""

    async def _all(self) -> list[Any]:
        try:
            return await super()._all()
        except sky.AuthenticationFailed as error:
            raise sky.AuthenticationFailed(f"{os.environ['ACME_TOKEN']}: {error.message}") from error


@caught("the_port_of_a_running_machine_is_told_as_declared", r"details\['port'\] of m-\d+ is '9'")
class Written(Mistake):
    """JSON has it as text, or nearly."""

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        found = await super().describe(ids)
        return {
            name: evolve(each, details={**each.details, "port": str(each.details["port"])})
            for name, each in found.items()
        }


@caught("closing_leaves_no_task_behind", "of the session run on after close")
class Busy(Mistake):
    """Keeps the connection warm."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._warm = asyncio.ensure_future(asyncio.sleep(3600))
