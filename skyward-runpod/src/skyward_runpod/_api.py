"""RunPod's REST interface, version 2: who asks, what is asked, and what its refusals mean."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from skyward import ProviderError, QuotaExceeded, Unavailable
from skyward.spi import Answer, RestClient, bearer
from skyward_runpod._credentials import REMEDY, find_key
from skyward_runpod._shapes import Cpus, CpuType, DataCenter, DataCenters, Gpus, GpuType, Pod, Pods, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skyward_runpod._settings import RunPod

__all__ = ["PODS", "Api"]

PODS = "/v2/pods"
_BILLING = "https://console.runpod.io/user/billing"
_LIMITED = re.compile(r"spend(ing)? limit|quota", re.IGNORECASE)
_SOLD_OUT = re.compile(r"no longer any instances|no instances|out of (stock|capacity)", re.IGNORECASE)
_MOST_PAGES = 100
_STOCK = {"include": "AVAILABILITY", "product": "POD"}


def _is_id(name: str) -> bool:
    """Whether a pod may be called so; anything else could lead to another place."""
    return re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None


class Api:
    """The account, for one session.

    Args:
        endpoint: address of the interface.
        key: the account's.
        where: the key was found, in words.
    """

    def __init__(self, endpoint: str, key: str, where: str) -> None:
        self.where = where
        self.rest = RestClient(
            "RunPod",
            endpoint,
            authorize=bearer(key),
            explain=self._explain,
            remedy=f"the key is that of {where}: {REMEDY}",
            secrets=(key,),
        )

    @classmethod
    def of(cls, settings: RunPod) -> Api:
        """The account of these settings.

        Raises:
            AuthenticationFailed: there is no key.
        """
        return cls(settings.endpoint, *find_key(settings.profile))

    async def check(self) -> None:
        """See that the key is known, and may list pods.

        Raises:
            AuthenticationFailed: it is not, or may not.
        """
        await self.rest.ask("GET", PODS, into=Pods)

    # ---- what there is to buy

    async def gpus(self, count: int, cloud: str, min_cuda: str | None) -> tuple[GpuType, ...]:
        """All kinds of GPUs, with how much there is of so many on one pod."""
        params = {**_STOCK, "count": count, "cloud": cloud.upper(), "minCudaVersion": min_cuda}
        return (await self.rest.ask("GET", "/v2/catalog/gpus", params=params, into=Gpus)).gpus

    async def cpus(self, counts: Mapping[str, int] | None = None) -> tuple[CpuType, ...]:
        """All flavours of pods without GPUs; with how much there is of so many virtual CPUs of each."""
        if counts is None:
            return (await self.rest.ask("GET", "/v2/catalog/cpus", into=Cpus)).cpus
        numbers = sorted(set(counts.values()))
        answers = await asyncio.gather(
            *(
                self.rest.ask("GET", "/v2/catalog/cpus", params={**_STOCK, "vcpuCount": number}, into=Cpus)
                for number in numbers
            )
        )
        told = dict(zip(numbers, answers, strict=True))
        return tuple(cpu for number in numbers for cpu in told[number].cpus if counts.get(cpu.id) == number)

    async def data_centers(self) -> tuple[DataCenter, ...]:
        """All data centres."""
        return (await self.rest.ask("GET", "/v2/catalog/datacenters", into=DataCenters)).data_centers

    async def volume(self, name: str) -> Volume | None:
        """A network volume, by its id; ``None`` where the account has no such."""
        path = f"/v2/network-volumes/{quote(name, safe='')}"
        return await self.rest.ask("GET", path, into=Volume, absent=None)

    # ---- pods

    async def pods(self) -> list[Pod]:
        """All pods of the account but those of clusters."""
        found: list[Pod] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            page = await self.rest.ask("GET", PODS, params={"cursor": cursor}, into=Pods)
            found += page.pods
            if not page.next_cursor or page.next_cursor == cursor:
                return found
            cursor = page.next_cursor
        raise ProviderError(f"RunPod's list of pods does not end after {_MOST_PAGES} pages: its API may have changed")

    async def pod(self, name: str) -> Pod | None:
        """A pod, by its id; ``None`` where there is none."""
        return await self.rest.ask("GET", f"{PODS}/{name}", into=Pod, absent=None) if _is_id(name) else None

    async def delete(self, name: str) -> None:
        """End a pod for good. One that is not there is ended."""
        if _is_id(name):
            await self.rest.ask("DELETE", f"{PODS}/{name}", absent=None)

    async def rename(self, name: str, title: str) -> None:
        """Give a pod another name; one that is not there is left alone."""
        if _is_id(name):
            await self.rest.ask("PATCH", f"{PODS}/{name}", body={"name": title}, absent=None)

    # ---- refusals

    def _explain(self, answer: Answer) -> ProviderError | None:
        """What an order's refusal means: no capacity has the status of a mistake, and a sentence alone."""
        if answer.status == 402:
            return QuotaExceeded(
                f"RunPod refuses {answer.method} {answer.path}, since the account's balance is too low: "
                f"{self.rest.safe(answer.words)}",
                quota="balance",
                url=_BILLING,
            )
        if (answer.method, answer.path) != ("POST", PODS) or answer.status < 400:
            return None
        words = self.rest.safe(answer.words)
        refused = f"RunPod refuses the pod ({answer.status}): {words}"
        if answer.status in (400, 403) and _LIMITED.search(words):
            return QuotaExceeded(refused, quota="spending limit", url=_BILLING)
        if answer.status == 403:
            return Unavailable(
                f"{refused}; either these pods are not for this account, or its key may not create pods: give the key "
                "that permission at https://console.runpod.io/user/settings"
            )
        if answer.status == 400 or (answer.status >= 500 and _SOLD_OUT.search(words)):
            return Unavailable(refused)
        return None
