"""The pods of one pool: offered, ordered, looked at, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from skyward import Unavailable
from skyward.spi import Instance, MachineLabel, Offer, Order, PoolIdentity, RestSession, first_boot_script
from skyward_runpod import _boot, _pods
from skyward_runpod._api import PODS
from skyward_runpod._offers import clouds_of, count_of, cpu_offers, gpu_offers, preference, vcpus_of
from skyward_runpod._settings import RunPod
from skyward_runpod._shapes import Pod

if TYPE_CHECKING:
    from skyward.spi import ComputeSpec
    from skyward_runpod._api import Api

__all__ = ["RunPodSession"]

_log = logging.getLogger("skyward.runpod")


class RunPodSession(RestSession[RunPod]):
    """Serves one pool.

    Args:
        settings: what the user asked for.
        identity: the pool's.
        api: the account, which has answered.
    """

    def __init__(self, settings: RunPod, identity: PoolIdentity, api: Api) -> None:
        super().__init__(settings, identity, api.rest)
        self._api = api
        self._found: Collection[str] | None = None
        self._warned = False

    # ---- what there is

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """What RunPod has that meets the request, the cheapest first; what is out of stock has no capacity."""
        centers = await self._centers()
        found = await asyncio.gather(self._gpus(spec, centers), self._cpus(spec, centers))
        return sorted((offer for offers in found for offer in offers), key=preference)

    async def _gpus(self, spec: ComputeSpec, centers: Collection[str] | None) -> list[Offer]:
        if spec.accelerator is None and spec.machine is None:
            return []
        clouds, least = clouds_of(self.settings), _pods.minimum_cuda(self.settings)
        answers = await asyncio.gather(*(self._api.gpus(count_of(spec), cloud, least) for cloud in clouds))
        found = [
            offer
            for cloud, gpus in zip(clouds, answers, strict=True)
            for offer in gpu_offers(gpus, spec, self.settings, cloud, centers)
        ]
        if found and (spec.cpu or spec.memory_gb) and not self._warned:
            self._warned = True
            _log.warning(
                "RunPod does not tell how many CPUs and how much memory its pods with GPUs have: whether they have "
                "what the pool asks for is not known; name a larger GPU if they have not"
            )
        return found

    async def _cpus(self, spec: ComputeSpec, centers: Collection[str] | None) -> list[Offer]:
        if spec.accelerator is not None or "secure" not in clouds_of(self.settings) or self.settings.global_networking:
            return []
        sizes = {cpu.id: vcpus_of(cpu, spec) for cpu in await self._api.cpus()}
        counts = {name: count for name, count in sizes.items() if count is not None}
        cpus = await self._api.cpus(counts) if counts else ()
        return list(cpu_offers(((cpu, counts[cpu.id]) for cpu in cpus), self.settings, centers))

    async def _centers(self) -> Collection[str] | None:
        """The data centres that will do; ``None`` for all.

        Raises:
            Unavailable: there are none, or one that is asked for is unknown.
        """
        wanted = self.settings.data_centers
        if wanted is None and not self.settings.global_networking:
            return None
        if self._found is None:
            there = await self._api.data_centers()
            names = {each.id for each in there}
            if unknown := sorted(set(wanted or ()) - names):  # it would look like one that is sold out
                raise Unavailable(f"RunPod has no {', '.join(unknown)}: choose from {', '.join(sorted(names))}")
            if wanted is not None and not self.settings.global_networking:
                self._found = wanted
                return wanted
            able = {each.id for each in there if each.global_network}
            found = able if wanted is None else able & set(wanted)
            if not found:
                raise Unavailable(
                    f"RunPod has no global networking in {', '.join(wanted or ('any data centre',))}: choose from "
                    f"{', '.join(sorted(able))}, or leave global_networking out"
                )
            self._found = found
        return self._found

    # ---- pods

    async def _create(self, order: Order) -> Instance:
        label = order.label

        async def find() -> Pod | None:
            return next((pod for pod in await self._api.pods() if _pods.is_of(pod, label)), None)

        body = _pods.body(order, self.settings, await self._centers())
        pod = await self.rest.create("POST", PODS, body=body, into=Pod, find=find)
        return _pods.instance(pod, label, order.offer)

    async def _machines(self) -> Iterable[Instance]:
        return [found for pod in await self._api.pods() if (found := self._told(pod)) is not None]

    async def _look(self, id: str) -> Instance | None:  # noqa: A002  as Instance calls it
        pod = await self._api.pod(id)
        if pod is None:
            self.known.ending([id])  # a list may not tell of a new pod yet; what is asked for by its id is there or not
        return None if pod is None else self._told(pod)

    def _told(self, pod: Pod) -> Instance | None:
        label = _pods.label_of(pod)
        return None if label is None else _pods.instance(pod, label)

    async def _delete(self, id: str) -> None:  # noqa: A002  as Instance calls it
        await self._api.delete(id)

    async def _relabel(self, id: str, label: MachineLabel) -> None:  # noqa: A002  as Instance calls it
        await self._api.rename(id, _pods.named(label))

    def _switch(self, lifetime: float | None) -> str:
        return first_boot_script(lifetime=lifetime, lease=self.identity.lease, user=self.user, end=_boot.END)
