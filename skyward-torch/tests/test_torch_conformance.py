"""The integration keeps the rules of integrations, on nodes that have torch."""

from __future__ import annotations

from frameworks import FrameworkConformance

from skyward_torch import torch


class TestTorch(FrameworkConformance):
    plugin = torch(wheels="pypi")
