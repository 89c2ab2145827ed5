"""What was ordered of a fake provider, and a provisioning that must fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from road_fakes import FakeProvider, Journey


def bought(provider: FakeProvider) -> list[tuple[str, str, tuple[int, ...]]]:
    """What was ordered of a provider: machine type, market, nodes."""
    orders = provider.called("launch")
    return [(order.offer.instance_type, order.offer.market, order.nodes) for order in orders]


async def fail(journey: Journey, state: Path, error: type[BaseException]) -> BaseException:
    """Provision, which must fail, and leave nothing."""
    with pytest.raises(error) as caught:
        await journey.road.provision()
    await journey.road.destroy()
    assert list(journey.leftovers(state)) == []
    return caught.value
