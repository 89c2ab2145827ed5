"""What is offered: kinds, prices, stock, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.runpod import Fake
from hypothesis import given
from hypothesis import strategies as st

from skyward import Accelerator, Image, Unavailable
from skyward.spi import ComputeSpec
from skyward_runpod import RunPod
from skyward_runpod._offers import accelerator_of, gpu_offers, vcpus_of
from skyward_runpod._shapes import CpuPrice, CpuType, GpuType, Most, Price, Range, Stock


def wanted(accelerator: str) -> dict[str, Any]:
    return {"accelerator": Accelerator.parse(accelerator)}


async def test_gpus_cost_what_one_does_times_their_number(runpod_api: Fake, opened: Any, spec: Any) -> None:
    async with opened() as session:
        [one] = await session.offers(spec(**wanted("RTX-4090")))
        [three] = await session.offers(spec(**wanted("RTX-4090:3")))
        assert await session.offers(spec(**wanted("RTX-4090:9"))) == []
    assert (one.price, three.price) == (0.69, 2.07)
    assert (three.instance_type, three.region, three.market) == ("NVIDIA GeForce RTX 4090", "secure", "on-demand")
    assert str(three.accelerator) == "RTX-4090:3"
    assert one.capacity is None
    queries = [each.query for each in runpod_api.asked("GET /v2/catalog/gpus")]
    assert [query["count"] for query in queries] == ["1", "3", "9"]
    assert queries[0] == {
        "include": "AVAILABILITY",
        "product": "POD",
        "count": "1",
        "cloud": "SECURE",
        "minCudaVersion": "12.8",
    }


@pytest.mark.usefixtures("runpod_api")
async def test_both_clouds_are_offered_at_their_own_prices_the_cheapest_first(opened: Any, spec: Any) -> None:
    async with opened(cloud="any") as session:
        offers = await session.offers(spec(**wanted("RTX-4090:4")))
        more = await session.offers(spec(**wanted("RTX-4090:5")))
    assert [(offer.region, offer.price) for offer in offers] == [("community", 1.36), ("secure", 2.76)]
    assert [offer.region for offer in more] == ["secure"]


@pytest.mark.usefixtures("runpod_api")
async def test_what_is_out_of_stock_is_offered_without_capacity(opened: Any, spec: Any) -> None:
    async with opened() as session:
        [offer] = await session.offers(spec(**wanted("H200")))
    assert (str(offer.accelerator), offer.capacity) == ("H200-SXM", 0)


@pytest.mark.usefixtures("runpod_api")
async def test_the_stock_is_that_of_the_data_centers_and_cuda_versions_that_will_do(opened: Any, spec: Any) -> None:
    async def stock(accelerator: str, **settings: Any) -> list[object]:
        async with opened(**settings) as session:
            return [each.details["stock"] for each in await session.offers(spec(**wanted(accelerator)))]

    assert await stock("RTX-4090") == ["HIGH"]
    assert await stock("RTX-4090", data_centers="US-KS-2") == ["LOW"]
    assert await stock("RTX-4090", data_centers=["CA-MTL-1"]) == ["NONE"]
    assert await stock("L4") == ["NONE"]
    assert await stock("L4", min_cuda="12.2") == ["LOW"]
    assert await stock("L4", image="somebody/image:1") == ["LOW"]


@pytest.mark.usefixtures("runpod_api")
async def test_amds_gpus_are_offered_with_an_image_for_them_alone(opened: Any, spec: Any) -> None:
    async with opened() as plain, opened(image="rocm/pytorch:latest") as own:
        assert await plain.offers(spec(**wanted("MI300X"))) == []
        assert [each.price for each in await own.offers(spec(**wanted("MI300X")))] == [2.49]


async def test_a_pool_without_accelerator_gets_the_smallest_pods_that_will_do(
    runpod_api: Fake, opened: Any, spec: Any
) -> None:
    async with opened() as session:
        anything = await session.offers(spec())
        large = await session.offers(spec(cpu=3, memory_gb=16.0))
        assert await session.offers(spec(cpu=64)) == []
    assert [(each.instance_type, each.price) for each in anything] == [
        ("cpu3c-2", 0.06),
        ("cpu5c-2", 0.07),
        ("cpu3g-2", 0.08),
    ]
    assert [(each.instance_type, each.vcpu, each.memory_gb) for each in large] == [
        ("cpu3g-4", 4, 16.0),
        ("cpu3c-8", 8, 16.0),
        ("cpu5c-8", 8, 16.0),
    ]
    assert not runpod_api.asked("GET /v2/catalog/gpus"), "nobody has asked for one"
    assert {each.query.get("vcpuCount") for each in runpod_api.asked("GET /v2/catalog/cpus")} == {None, "2", "4", "8"}


@pytest.mark.usefixtures("runpod_api")
async def test_a_machine_is_had_by_its_name_also_one_that_has_no_accelerators_name(opened: Any, spec: Any) -> None:
    async with opened(cloud="any") as session:
        [flavour] = await session.offers(spec(machine="cpu5c-16"))
        [odd] = await session.offers(spec(machine="NVIDIA GeForce RTX 4080 SUPER"))
        assert await session.offers(spec(machine="cpu5c-12")) == []
        assert await session.offers(spec(machine="cpu5c-64")) == []
    assert (flavour.vcpu, flavour.memory_gb, flavour.price) == (16, 32.0, 0.56)
    assert (odd.accelerator, odd.price, odd.region) == (None, 0.28, "community")


@pytest.mark.usefixtures("runpod_api")
async def test_parts_of_a_device_are_not_offered(opened: Any, spec: Any) -> None:
    async with opened() as session:
        assert await session.offers(spec(accelerator=Accelerator("A100", mig="1g.10gb"))) == []


@pytest.mark.usefixtures("runpod_api")
async def test_it_is_said_once_that_nobody_knows_the_cpus_of_a_gpu(
    opened: Any, spec: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as session:
        for _ in range(2):
            assert await session.offers(spec(cpu=16, **wanted("RTX-4090")))
    assert caplog.text.count("does not tell how many CPUs") == 1


@pytest.mark.usefixtures("runpod_api")
async def test_global_networking_takes_the_data_centers_that_have_it(opened: Any, spec: Any) -> None:
    async with opened(global_networking=True) as session:
        [offer] = await session.offers(spec(**wanted("A100")))
        assert offer.details["stock"] == "LOW", "the other data centre has more, and no global networking"
        assert await session.offers(spec()) == [], "pods without GPUs have no private addresses"
    async with opened(global_networking=True, data_centers="US-KS-2") as session:
        with pytest.raises(Unavailable, match=r"no global networking in US-KS-2: choose from CA-MTL-1, EU-RO-1, or"):
            await session.offers(spec(**wanted("A100")))


@pytest.mark.usefixtures("runpod_api")
async def test_a_data_center_that_there_is_not_is_no_shortage(opened: Any, spec: Any) -> None:
    for more in ({}, {"global_networking": True}):
        async with opened(data_centers=["EU-RO-1", "EU-RO-11"], **more) as session:
            with pytest.raises(Unavailable, match=r"^RunPod has no EU-RO-11: choose from .*EU-RO-1, "):
                await session.offers(spec(**wanted("A100")))


@pytest.mark.parametrize(
    ("name", "known_as", "memory", "found"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM", 80, "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe", 80, "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL", 94, "H100-NVL"),
        ("NVIDIA H200", "H200 SXM", 141, "H200-SXM"),
        ("NVIDIA B200", "B200", 180, "B200"),
        ("NVIDIA B300 SXM6 AC", "B300", 288, "B300-SXM"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, "A100-PCIe-80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM", 80, "A100-SXM-80GB"),
        ("NVIDIA RTX A6000", "RTX A6000", 48, "A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 48, "RTX-6000-Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000", 96, "RTX-PRO-6000"),
        ("Tesla V100-SXM2-32GB", "V100 SXM2 32GB", 32, "V100-SXM-32GB"),
        ("AMD Instinct MI300X OAM", "MI300X", 192, "MI300X"),
        ("NVIDIA GeForce RTX 3070", "RTX 3070", 8, None),
        ("NVIDIA RTX PRO 6000 MIG 24GB", "RTX PRO 6000 MIG", 24, None),
        ("NVIDIA A100 part", "A100", 20, None),
    ],
)
def test_the_vendors_names_are_read(name: str, known_as: str, memory: int, found: str | None) -> None:
    read = accelerator_of(GpuType(id=name, name=known_as, memory=memory))
    assert (None if read is None else str(read)) == found


@given(
    cpu=st.none() | st.integers(1, 64),
    memory=st.none() | st.floats(0.1, 200),
    ram=st.floats(1, 8),
    most=st.sampled_from([2, 8, 32]),
)
def test_the_size_of_a_pod_is_the_least_power_of_two_that_will_do(
    cpu: int | None, memory: float | None, ram: float, most: int
) -> None:
    kind = CpuType(id="cpu", vcpu=Range(min=2, max=most), ram_gb_per_vcpu=ram, price=CpuPrice(secure_per_vcpu=0.1))
    spec = ComputeSpec(nodes=1, image=Image(), cpu=cpu, memory_gb=memory)

    def does(count: int) -> bool:
        return count >= (cpu or 2) and count * ram >= (memory or 3.5) - 1e-6

    found = vcpus_of(kind, spec)
    sizes = [size for size in (2, 4, 8, 16, 32) if size <= most]
    assert found == next((size for size in sizes if does(size)), None)


@given(
    price=st.floats(0.01, 50),
    count=st.integers(1, 8),
    levels=st.dictionaries(st.sampled_from(["A-1", "B-2"]), st.sampled_from(["NONE", "LOW", "HIGH", "ODD"])),
)
def test_an_offer_has_no_capacity_exactly_where_nothing_is_in_stock(
    price: float, count: int, levels: dict[str, str]
) -> None:
    stock = tuple(Stock(id=name, availability=level) for name, level in levels.items())
    gpu = GpuType(
        id="NVIDIA L4",
        name="L4",
        memory=24,
        secure=True,
        price=Price(secure=price),
        max_count=Most(secure=8),
        data_centers=stock,
    )
    spec = ComputeSpec(nodes=1, image=Image(), accelerator=Accelerator("L4", count=count))
    [offer] = gpu_offers([gpu], spec, RunPod(data_centers="A-1"), "secure", ["A-1"])
    assert offer.price == pytest.approx(price * count, abs=1e-6)
    assert (offer.capacity == 0) == (levels.get("A-1", "NONE") == "NONE")
