"""The integration keeps the rules of integrations, on nodes that have jax."""

from __future__ import annotations

from frameworks import FrameworkConformance

from skyward_jax import jax


class TestJax(FrameworkConformance):
    plugin = jax()
