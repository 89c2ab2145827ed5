"""What a checker knows of the providers of this project's own packages, where they are installed. Never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

import skyward as sky
from skyward_aws import AWS
from skyward_container import Container
from skyward_digitalocean import DigitalOcean
from skyward_runpod import RunPod
from skyward_vastai import VastAI
from skyward_verda import Verda


def made() -> None:
    assert_type(sky.AWS(), AWS)
    assert_type(sky.Container(), Container)
    assert_type(sky.DigitalOcean(), DigitalOcean)
    assert_type(sky.RunPod(), RunPod)
    assert_type(sky.VastAI(), VastAI)
    assert_type(sky.Verda(), Verda)


def handed_to_pools() -> None:
    sky.ComputePool(sky.RunPod(), accelerator="A100")
    sky.ComputePool([sky.RunPod(), sky.VastAI(), sky.AWS()], selection="cheapest")
    sky.ComputePool([sky.Verda(), sky.DigitalOcean(), sky.Container(), sky.Local()])


def misused() -> None:
    sky.RunPod(no_such_setting=1)  # type: ignore[call-arg]
    sky.Runpod()  # type: ignore[attr-defined]
