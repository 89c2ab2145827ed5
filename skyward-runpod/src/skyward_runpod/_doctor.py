"""What ``skyward doctor`` looks at: the key, the data centres, the volume, and what is in stock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyward import ProviderError
from skyward.spi import Finding
from skyward_runpod._offers import accelerator_of, clouds_of
from skyward_runpod._pods import minimum_cuda

if TYPE_CHECKING:
    from skyward_runpod._api import Api
    from skyward_runpod._settings import RunPod

__all__ = ["examine"]


async def examine(api: Api, settings: RunPod) -> list[Finding]:
    """Look at everything that a pool will need, without creating anything.

    Raises:
        ProviderError: the key is refused, or RunPod cannot be reached.
    """
    await api.check()
    findings = [Finding(subject="credentials", detail=f"the key of {api.where}")]
    findings += await _centers(api, settings)
    if settings.network_volume is not None:
        findings.append(await _volume(api, settings, settings.network_volume))
    findings.append(await _stock(api, settings))
    return findings


async def _centers(api: Api, settings: RunPod) -> list[Finding]:
    if settings.data_centers is None and not settings.global_networking:
        return []
    subject = "data centres"
    try:
        there = await api.data_centers()
    except ProviderError as error:
        return [_problem(subject, error)]
    names = {each.id for each in there}
    wanted = set(settings.data_centers or names)
    if unknown := sorted(wanted - names):
        fact, remedy = f"RunPod has no {', '.join(unknown)}", f"choose from {', '.join(sorted(names))}"
        return [Finding(subject=subject, level="problem", detail=fact, remedy=remedy)]
    if settings.global_networking:
        near = sorted(each.id for each in there if each.global_network and each.id in wanted)
        if not near:
            able = ", ".join(sorted(each.id for each in there if each.global_network))
            fact, remedy = "none of them has private addresses", f"choose from {able}, or leave global_networking out"
            return [Finding(subject=subject, level="problem", detail=fact, remedy=remedy)]
        wanted = set(near)
    return [Finding(subject=subject, detail=", ".join(sorted(wanted)))]


async def _volume(api: Api, settings: RunPod, name: str) -> Finding:
    subject = "network volume"
    try:
        volume = await api.volume(name)
    except ProviderError as error:
        return _problem(subject, error)
    if volume is None:
        remedy = "give the id that https://console.runpod.io/user/storage shows, or leave network_volume out"
        return Finding(subject=subject, level="problem", detail=f"the account has no {name}", remedy=remedy)
    detail = f"{volume.name or volume.id}, in {volume.data_center}"
    if volume.data_center not in (settings.data_centers or (volume.data_center,)):
        remedy = f"give data_centers={volume.data_center!r}"
        return Finding(subject=subject, level="problem", detail=f"{detail}, where no pod may be", remedy=remedy)
    return Finding(subject=subject, detail=detail)


async def _stock(api: Api, settings: RunPod) -> Finding:
    """Whether any GPU is to be had now; pools without GPUs do not need one, so that none is a warning."""
    subject = "stock"
    names: set[str] = set()
    try:
        for cloud in clouds_of(settings):
            for gpu in await api.gpus(1, cloud, minimum_cuda(settings)):
                if getattr(gpu, cloud) and gpu.availability != "NONE":
                    found = accelerator_of(gpu)
                    names.add(gpu.id if found is None else str(found))
    except ProviderError as error:
        return _problem(subject, error)
    if names:
        return Finding(subject=subject, detail=f"{len(names)} kinds of GPUs, among them {', '.join(sorted(names)[:6])}")
    remedy = "choose another cloud, or allow an earlier CUDA version with an image of your own"
    return Finding(subject=subject, level="warning", detail="no GPU is to be had now", remedy=remedy)


def _problem(subject: str, error: ProviderError) -> Finding:
    """An error's fact, and the remedy that its last part is."""
    fact, _, remedy = str(error).rpartition(": ")
    return Finding(subject=subject, level="problem", detail=fact or str(error), remedy=remedy or "try again later")
