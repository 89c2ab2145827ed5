"""A pool of spot and on-demand machines that loses one: what comes instead keeps the shares as they were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from road_fakes import FakeProvider, Journey, on_demand, spot, virtually

from skyward._choice import Choice
from skyward._selection import plan
from skyward.errors import AllProvidersFailedError, Unavailable
from skyward.model.allocation import Allocation, Candidate, Tranche
from skyward.model.offer import Offer

pytestmark = pytest.mark.usefixtures("own_ledgers")


async def without(journey: Journey, cloud: FakeProvider, index: int) -> None:
    """The pool loses the machine of a node, and gets another one."""
    node = journey.dispatcher.nodes[index]
    cloud.lose(node.instance.id)
    await journey.road.replace(node, lambda: None)


def markets(cloud: FakeProvider) -> dict[int, str]:
    return {machine.node: machine.offer.market for machine in cloud.alive}


@pytest.mark.parametrize("share", [0.5, 0.01])
@virtually
async def test_each_machine_comes_again_as_what_it_was(share: float) -> None:
    cloud = FakeProvider()
    journey = Journey(cloud, nodes=4, allocation=share)
    await journey.road.provision()
    before = markets(cloud)
    assert set(before.values()) == {"spot", "on-demand"}
    for index in range(4):
        await without(journey, cloud, index)
    assert markets(cloud) == before
    await journey.road.destroy()


@virtually
async def test_a_machine_on_demand_is_replaced_though_spot_is_sold_out_and_one_of_the_spot_share_is_not() -> None:
    cloud = FakeProvider()
    journey = Journey(cloud, nodes=2, allocation=0.5)
    await journey.road.provision()

    def on_demand_only(request: Any) -> object:
        if request.offer.market == "spot":
            raise Unavailable("no spot capacity")
        return cloud.sessions[0].create(request)

    cloud.script("launch", *[on_demand_only] * 9)
    await without(journey, cloud, 1)
    assert markets(cloud) == {0: "spot", 1: "on-demand"}
    with pytest.raises(AllProvidersFailedError, match="no spot capacity"):
        await without(journey, cloud, 0)
    await journey.road.destroy()


class AllOrNothing:
    """Takes machines on demand for the whole pool, as far as it is asked for one that is as large as that."""

    name = "all or nothing"

    def allocate(self, candidates: tuple[Candidate, ...], nodes: int, /) -> Sequence[Tranche]:
        return [Tranche(nodes, tuple(each for each in candidates if (each.offer.capacity or 0) >= nodes))]


def test_where_the_whole_pool_is_not_to_be_had_any_more_the_machine_is_looked_for_by_itself() -> None:
    few = on_demand(capacity=1)
    (order,) = plan([[few]], [0], Choice(AllOrNothing()), [2], 4)
    assert (order.nodes, [bid.offer for bid in order.offers]) == ((2,), [few])


@given(
    st.lists(st.sampled_from([spot(), on_demand(), spot(price=0.1), on_demand(price=0.3)]), min_size=1, max_size=4),
    st.sampled_from([*map(Choice, (Allocation.SpotIfAvailable(), Allocation.Cheapest(), Allocation.OnDemand()))])
    | st.floats(0, 1).map(lambda share: Choice(Allocation.Percent(share))),
    st.integers(1, 8),
    st.data(),
)
def test_a_lost_node_is_bought_from_what_its_place_in_the_pool_was_bought_from(
    offers: list[Offer], allocation: Choice[Any], total: int, data: st.DataObject
) -> None:
    node = data.draw(st.integers(0, total - 1))
    whole = {each: order.offers for order in plan([offers], [0], allocation, range(total)) for each in order.nodes}
    (again,) = plan([offers], [0], allocation, [node], total)
    assert again.nodes == (node,)
    assert again.offers == whole[node] or not whole[node]
