"""The rules of every provider, with the Vast.ai of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes.machines import FakeMachines
from fakes.vastai import VastAIServer, VastAIVendor

from skyward import Accelerator, Image
from skyward.spi import ComputeSpec, PoolIdentity, Provider
from skyward.testing import ProviderConformance, deviates
from skyward_vastai import VastAI


@pytest.mark.slow
class TestVastAI(ProviderConformance):
    patience = 60.0
    longest_pause = 0.2
    cancellations = 4

    @pytest.fixture(autouse=True)
    def _server(self, vastai_api: VastAIServer, hurry: object) -> Iterator[None]:
        self.fake = VastAIVendor(vastai_api)
        with VastAIServer(FakeMachines("elsewhere"), key="another") as self.elsewhere:
            yield

    @pytest.fixture
    def provider(self) -> VastAI:
        return VastAI()

    def spec(self) -> ComputeSpec:
        return ComputeSpec(nodes=2, image=Image(), accelerator=Accelerator("RTX-4090"))

    def unauthorised(self) -> VastAI:
        return VastAI(endpoint=self.elsewhere.endpoint)

    def vendor(self) -> VastAIVendor:
        return self.fake

    @deviates("each offer of Vast.ai's is one machine, so that no order brings a part of what was asked for")
    def test_a_partial_launch_loses_none_of_those_that_came(self, provider: Provider) -> None:
        who = PoolIdentity(pool_id="whole", owner="ada@lab", deadline=None, lease=None, token=b"x")

        async def capacities() -> set[int | None]:
            session = await provider.open(who)
            try:
                return {offer.capacity for offer in await session.offers(self.spec())}
            finally:
                await session.close()

        assert self.run(capacities()) == {1}
