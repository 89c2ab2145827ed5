"""An order at any vendor is given once, whatever becomes of its answer, and a refusal leaves nothing."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from fakes import VendorServer
from fakes.digitalocean import DigitalOceanVendor
from fakes.faults import EVER
from fakes.fixtures import digitalocean_api as digitalocean_api
from fakes.fixtures import runpod_api as runpod_api
from fakes.fixtures import vastai_api as vastai_api
from fakes.fixtures import verda_api as verda_api
from fakes.runpod import RunPodVendor
from fakes.sessions import new_identity
from fakes.vastai import VastAIVendor
from fakes.verda import VerdaVendor

import skyward as sky
from skyward import AuthenticationFailed, Image, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.spi import ComputeSpec, Instance, LaunchRequest, RestClient, RestSession
from skyward.testing._hurry import hurried
from skyward_digitalocean import DigitalOcean
from skyward_runpod import RunPod
from skyward_vastai import VastAI
from skyward_verda import Verda

SPEC = ComputeSpec(nodes=1, image=Image())
ORDERS = {
    "runpod": (RunPod, RunPodVendor, "POST /v2/pods"),
    "vastai": (VastAI, VastAIVendor, "PUT /api/v0/asks/*"),
    "verda": (Verda, VerdaVendor, "POST /v1/instances"),
    "digitalocean": (DigitalOcean, DigitalOceanVendor, "POST /v2/droplets"),
}
"""By fixture: the provider, its fake as the kit sees it, and what an order is."""
REFUSALS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: QuotaExceeded,
    404: Unavailable,
    409: ProviderError,
    500: Transient,
    503: Transient,
}


@frozen
class Shop:
    """One vendor."""

    provider: Callable[[], Any]
    server: VendorServer
    vendor: Any
    order: str

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Any]:
        session = await self.provider().open(new_identity())
        try:
            yield session
        finally:
            await session.close()

    def nothing_is_left(self) -> bool:
        return not self.vendor.existing() and not self.vendor.belongings()


@pytest.fixture(params=ORDERS)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    server: VendorServer = request.getfixturevalue(f"{request.param}_api")
    provider, vendor, order = ORDERS[request.param]
    with hurried():
        yield Shop(provider, server, vendor(server), order)


async def ordered(session: RestSession[Any]) -> Instance:
    offer = (await session.offers(SPEC))[0]
    [machine] = await session.launch(LaunchRequest(offer=offer, nodes=(0,), spec=SPEC))
    return machine


@pytest.mark.parametrize("how", ["lost", "late", 500, 502, 503, 504])
def test_an_order_that_had_its_effect_without_an_answer_is_given_once(
    shop: Shop, how: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, came = threading.Event(), list[float]()

    def wait() -> None:
        came.append(time.monotonic())
        over.wait(60)

    if how == "late":
        monkeypatch.setitem(RestClient.__init__.__kwdefaults__ or {}, "timeout", 3.0)
        shop.server.faults.delay(shop.order, wait, behind=True)  # of a second one too, which must not come
    elif how == "lost":
        shop.server.faults.lose(shop.order)
    else:
        shop.server.faults.fail_after(shop.order, int(how))

    async def main() -> None:
        async with shop.session() as session:
            machine = await ordered(session)
            assert set(shop.vendor.existing()) == {machine.id}
            over.set()
            await session.terminate([machine.id])

    asyncio.run(main())
    # A request is kept when it has been answered, which need not be the case yet of one that nobody waits for.
    assert len(came if how == "late" else shop.server.asked(shop.order)) == 1
    assert shop.nothing_is_left()


def test_an_order_that_is_cancelled_between_its_effect_and_its_answer_is_given_once_and_leaves_nothing(
    shop: Shop,
) -> None:
    there, go = threading.Event(), threading.Event()

    def wait() -> None:
        there.set()
        go.wait(60)

    shop.server.faults.delay(shop.order, wait, behind=True, times=1)

    async def main() -> None:
        async with shop.session() as session:
            order = asyncio.create_task(ordered(session))
            assert await asyncio.to_thread(there.wait, 60)
            order.cancel()
            await asyncio.sleep(0)
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await order

    asyncio.run(main())
    assert len(shop.server.asked(shop.order)) == 1
    assert shop.nothing_is_left()


@pytest.mark.parametrize(
    ("shop", "status", "kind"),
    [
        (name, status, kind)
        for name in ORDERS
        for status, kind in REFUSALS.items()
        if name != "vastai" or status not in (402, 409)  # which it does not have
    ],
    indirect=["shop"],
)
def test_an_order_that_is_refused_in_the_vendors_own_words_is_given_once_and_leaves_nothing(
    shop: Shop, status: int, kind: type[ProviderError]
) -> None:
    async def main() -> None:
        async with shop.session() as session:
            shop.server.faults.fail(shop.order, status, times=EVER)
            with pytest.raises(kind) as caught:
                await ordered(session)
            assert not [secret for secret in shop.vendor.secrets() if secret in str(caught.value)]
            assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)

    asyncio.run(main())
    renewed = shop.provider is Verda and status == 401  # its token may have run out: once more, with another one
    assert len(shop.server.asked(shop.order)) == 1 + renewed
    assert shop.nothing_is_left()


def test_an_order_too_many_is_given_again_and_makes_one_machine(shop: Shop) -> None:
    async def main() -> None:
        async with shop.session() as session:
            shop.server.faults.fail(shop.order, 429)
            machine = await ordered(session)
            assert set(shop.vendor.existing()) == {machine.id}
            await session.terminate([machine.id])

    asyncio.run(main())
    assert len(shop.server.asked(shop.order)) == 2
    assert shop.nothing_is_left()


def test_a_pool_tells_nobody_the_key_that_a_vendor_repeats(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    mine = {*shop.vendor.secrets()} & {*shop.server.environment.values()}
    said = " and ".join(["wrong", *mine])
    body = {"id": "forbidden", "code": "forbidden_action", "error": "forbidden", "success": False, "title": said}
    body |= {"message": said, "msg": said, "detail": said}
    shop.server.faults.fail(shop.order, 403, body=body, times=EVER)
    events: list[object] = []

    def note(event: object) -> None:
        kept = [path.read_text() for path in Path(os.environ["XDG_STATE_HOME"]).rglob("*.jsonl")]
        events.extend([event, kept])

    pool = sky.ComputePool(shop.provider(), display="quiet", on_event=note)
    with pytest.raises(sky.SkywardError) as caught, pool:
        pass
    told = f"{events!r}\n{caplog.text}\n{''.join(traceback.format_exception(caught.value))}\n{pool!r}"
    assert mine
    assert "wrong and" in told, "what the vendor says is told"
    assert '"launching"' in told, "what is kept on disk is looked at"
    assert not [secret for secret in mine if secret in told]
    assert shop.server.asked(shop.order)
    assert shop.nothing_is_left()
