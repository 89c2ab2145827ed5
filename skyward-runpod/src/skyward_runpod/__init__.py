"""Nodes as pods of RunPod: ``RunPod``, which is ``sky.RunPod`` once this package is installed."""

from __future__ import annotations

from skyward_runpod._settings import RunPod

__all__ = ["RunPod"]
