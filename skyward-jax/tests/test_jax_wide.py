"""A group of containers, whose processes meet at the addresses of their own network."""

from __future__ import annotations

from typing import Any

import pytest
from frameworks import BASE, linked

import skyward as sky
from skyward_jax import jax

pytestmark = pytest.mark.slow


@pytest.mark.containers
def test_containers_compute_over_their_own_network(engine: str, image: sky.Image) -> None:
    from skyward_container import Container

    @jax
    def add() -> Any:
        import jax
        import numpy as np
        import psutil
        from jax.experimental import multihost_utils

        parts = multihost_utils.process_allgather(np.array(jax.process_index() + 1.0))
        listening = {each.laddr.ip for each in psutil.Process().net_connections("inet") if each.status == "LISTEN"}
        return float(parts.sum()), sorted(listening)

    with sky.ComputePool(Container(image=BASE, binary=engine), nodes=2, image=linked(image), display="quiet") as pool:
        (first, here), (second, there) = add() @ pool
    assert first == second == 3.0
    assert not {*here, *there} & {"127.0.0.1", "0.0.0.0", "::", "::1"}
