"""Pods from the order to the end: what is sent, what refusals mean, what is told."""

from __future__ import annotations

import shlex
import time
from typing import Any

import pytest
from fakes.runpod import Fake

from skyward import Accelerator, AuthenticationFailed, ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.spi import Instance, InstanceState, MachineLabel

RTX = Accelerator("RTX-4090")


async def test_an_order_says_all_that_a_pod_needs(runpod_api: Fake, opened: Any, order: Any, identity: Any) -> None:
    who = identity()
    async with opened(who, data_centers=["US-KS-2", "EU-RO-1"], registry="login1") as session:
        [machine] = await order(session, 3, accelerator=Accelerator("RTX-4090", count=2))
        public = (await session.key()).public.strip()
    [seen] = runpod_api.asked("POST /v2/pods")
    body = seen.body
    label = MachineLabel.read(body["env"].pop("SKYWARD_LABEL"))
    assert label is not None
    assert (label.pool_id, label.node, label.owner, label.client) == (who.pool_id, 3, "ada@lab", "elsewhere-1-2")
    assert body.pop("name").startswith(f"{label.name} until 20")
    assert body["env"].pop("SKYWARD_BOOT")
    assert shlex.split(body.pop("args"))[:2] == ["sh", "-c"]
    assert body == {
        "image": "runpod/base:1.0.2-cuda1281-ubuntu2404",
        "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 2, "minCudaVersion": "12.8"},
        "cloud": "SECURE",
        "dataCenterIds": ["EU-RO-1", "US-KS-2"],
        "disk": 50,
        "ports": ["22/tcp"],
        "startSsh": True,
        "env": {"PUBLIC_KEY": public, "SSH_PUBLIC_KEY": public},
        "registry": "login1",
    }
    assert (machine.node, machine.offer.price, machine.state) == (3, 1.38, InstanceState.PENDING)
    assert not runpod_api.asked("* /v2/account/*"), "the account's own keys are nobody's business"


@pytest.mark.parametrize(
    ("settings", "asked", "sent"),
    [
        ({}, {}, {"image": "runpod/base:1.0.2-ubuntu2404", "cpu": {"id": "cpu3c", "vcpuCount": 2}, "disk": 20}),
        ({}, {"cpu": 16}, {"cpu": {"id": "cpu3c", "vcpuCount": 16}, "disk": 50}),
        ({"disk_gb": 12}, {}, {"disk": 12}),
        ({"image": "me/mine:2", "min_cuda": "12.4"}, {"accelerator": RTX}, {"image": "me/mine:2"}),
        (
            {"network_volume": "agv6w2qcg7", "data_centers": "EU-RO-1"},
            {},
            {"mounts": {"network": [{"volumeId": "agv6w2qcg7", "path": "/workspace"}]}, "dataCenterIds": ["EU-RO-1"]},
        ),
        ({"cloud": "community"}, {"accelerator": RTX}, {"cloud": "COMMUNITY"}),
    ],
)
async def test_settings_arrive_in_the_order(
    settings: dict[str, Any], asked: dict[str, Any], sent: dict[str, Any], runpod_api: Fake, opened: Any, order: Any
) -> None:
    async with opened(**settings) as session:
        await order(session, **asked)
    [seen] = runpod_api.asked("POST /v2/pods")
    assert {name: seen.body.get(name) for name in sent} == sent
    assert "minCudaVersion" not in seen.body.get("cpu", {})


async def test_with_global_networking_pods_have_private_addresses(runpod_api: Fake, opened: Any, order: Any) -> None:
    async with opened(global_networking=True) as session:
        [machine] = await order(session, accelerator=RTX)
        found = (await session.describe([machine.id]))[machine.id]
    [seen] = runpod_api.asked("POST /v2/pods")
    assert (seen.body["globalNetworking"], seen.body["dataCenterIds"]) == (True, ["CA-MTL-1", "EU-RO-1"])
    assert found.private_ip.startswith("10.65.")


async def test_a_pod_runs_once_it_has_the_private_address_that_was_asked_for(
    runpod_api: Fake, opened: Any, order: Any
) -> None:
    async with opened(global_networking=True) as session:
        [machine] = await order(session, accelerator=RTX)
        pod = runpod_api.pods[machine.id]
        private, pod.private = pod.private, ""
        while pod.status != "RUNNING":
            await session.describe([machine.id])
        [found] = (await session.describe([machine.id])).values()
        assert found.state == InstanceState.PENDING
        pod.private = private
        [found] = (await session.describe([machine.id])).values()
    assert (found.state, found.private_ip) == (InstanceState.RUNNING, private)


@pytest.mark.parametrize(
    ("status", "detail", "error", "said"),
    [
        (400, "no longer any instances available", Unavailable, r"refuses the pod \(400\): no longer any instances"),
        (400, "cudaVersions and minCudaVersion exclude each other", Unavailable, "exclude each other"),
        (400, "You have reached your spend limit", QuotaExceeded, "reached your spend limit"),
        (401, "invalid bearer token", AuthenticationFailed, "the key is that of RUNPOD_API_KEY: make a key at"),
        (402, "balance too low", QuotaExceeded, "the account's balance is too low: balance too low"),
        (403, "access denied", Unavailable, "access denied; either these pods are not for this account, or its key"),
        (422, "Request validation failed.", ProviderError, "422: Request validation failed"),
        (500, "There are no longer any instances available", Unavailable, "no longer any instances"),
    ],
)
async def test_each_refusal_is_told_in_the_vendors_words(
    status: int, detail: str, error: type[Exception], said: str, runpod_api: Fake, opened: Any, order: Any
) -> None:
    async with opened() as session:
        runpod_api.faults.fail("POST /v2/pods", status, body={"title": "No", "status": status, "detail": detail})
        with pytest.raises(error, match=said) as caught:
            await order(session)
    assert type(caught.value) is error
    assert len(runpod_api.asked("POST /v2/pods")) == 1
    if isinstance(caught.value, QuotaExceeded):
        assert caught.value.quota
        assert caught.value.url == "https://console.runpod.io/user/billing"


@pytest.mark.parametrize("how", ["lost", "error"])
async def test_a_pod_that_was_made_without_an_answer_is_found_by_its_name(
    how: str, runpod_api: Fake, opened: Any, order: Any, hurry: Any
) -> None:
    runpod_api.list_lag, runpod_api.page_size = 2, 2
    async with opened() as session:
        if how == "lost":
            runpod_api.faults.lose("POST /v2/pods")
        else:
            runpod_api.faults.fail_after("POST /v2/pods", 500)
        [machine] = await order(session)
    assert set(runpod_api.ours) == {machine.id}
    assert len(runpod_api.asked("POST /v2/pods")) == 1
    assert hurry.paused, "it was not in the first two lists"


async def test_an_order_that_had_no_effect_is_not_given_twice(
    runpod_api: Fake, opened: Any, order: Any, hurry: Any
) -> None:
    async with opened() as session:
        runpod_api.faults.lose("POST /v2/pods", effect=False)
        with pytest.raises(Transient, match="it was looked for"):
            await order(session)
    assert 5 <= sum(hurry.paused) <= 60
    assert len(runpod_api.asked("POST /v2/pods")) == 1


async def test_too_many_orders_are_given_again_after_the_pause_that_is_asked_for(
    runpod_api: Fake, opened: Any, order: Any, hurry: Any
) -> None:
    async with opened() as session:
        runpod_api.faults.fail("POST /v2/pods", 429)
        await order(session)
    assert hurry.paused == [1.0]
    assert len(runpod_api.asked("POST /v2/pods")) == 2


async def seen(session: Any, machine: Instance) -> Instance:
    found: Instance = (await session.describe([machine.id]))[machine.id]
    return found


async def test_a_pod_runs_when_its_ssh_server_has_a_port_and_the_port_is_the_present_one(
    runpod_api: Fake, opened: Any, order: Any
) -> None:
    async with opened() as session:
        runpod_api.unreachable = 1
        [machine] = await order(session)
        pod = runpod_api.ours[machine.id]
        states = [(await seen(session, machine)).state for _ in range(4)]
        assert (states, pod.status) == ([InstanceState.PENDING] * 4, "RUNNING")
        pod.reachable = True
        first = await seen(session, machine)
        assert (first.state, first.ip, first.details["port"]) == (InstanceState.RUNNING, pod.host, pod.port)
        pod.port += 1  # its container was started anew
        assert (await seen(session, machine)).details["port"] == pod.port
    assert "ssh.runpod.io" not in str(first), "the proxy forwards nothing"


@pytest.mark.parametrize("status", ["EXITED", "ERROR"])
async def test_a_pod_that_has_stopped_is_left_to_its_pool_which_deletes_it_and_to_whoever_cleans_up(
    status: str, runpod_api: Fake, opened: Any, order: Any, identity: Any
) -> None:
    async with opened() as session, opened() as stranger:
        one, other = await order(session, 0, 1)
        for machine in (one, other):
            runpod_api.ours[machine.id].status = status
        found = await stranger.list_owned(one.pool_id)
        assert {(each.id, each.state) for each in found} == {(each.id, InstanceState.PENDING) for each in (one, other)}
        assert (await seen(stranger, one)).details["billed"]
        assert len(runpod_api.ours) == 2, "it is not the stranger's"
        assert (await seen(session, one)).state is InstanceState.GONE
        assert set(runpod_api.ours) == {other.id}
        await stranger.terminate([other.id])
    assert runpod_api.ours == {}


async def test_a_pod_that_runpod_will_not_delete_is_told_and_still_found(
    runpod_api: Fake, opened: Any, order: Any
) -> None:
    async with opened() as session:
        [machine] = await order(session)
        runpod_api.faults.fail("DELETE /v2/pods/*", 409)
        with pytest.raises(ProviderError, match="409: pod belongs to a cluster"):
            await session.terminate([machine.id])
        assert len(runpod_api.asked("DELETE *")) == 1, "it will not change its mind"
        assert [each.id for each in await session.list_owned()] == [machine.id]


async def test_moving_a_deadline_renames_a_pod_and_does_nothing_else_to_it(
    runpod_api: Fake, opened: Any, order: Any
) -> None:
    async with opened() as session, opened() as stranger:
        [machine] = await order(session)
        deadline = time.time() + 7200.25
        await session.extend([machine.id], deadline)
        for each in (session, stranger):
            assert (await seen(each, machine)).deadline == pytest.approx(deadline, abs=0.001)
    [patched] = runpod_api.asked("PATCH *")
    assert list(patched.body) == ["name"], "any other change would start its container anew"


async def test_a_name_that_somebody_changed_does_not_hide_whose_a_pod_is(
    runpod_api: Fake, opened: Any, order: Any
) -> None:
    async with opened() as session, opened() as stranger:
        [machine] = await order(session)
        runpod_api.ours[machine.id].name = "my pod until tomorrow"
        [found] = await stranger.list_owned()
    assert (found.id, found.pool_id, found.deadline) == (machine.id, machine.pool_id, machine.deadline)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?b", "ä", "a" + "\n"])
async def test_what_is_no_id_is_not_asked_for(name: str, runpod_api: Fake, opened: Any) -> None:
    async with opened() as session:
        assert await session.describe([name]) == {}
        await session.terminate([name])
    assert {(each.method, each.path) for each in runpod_api.requests} == {("GET", "/v2/pods")}


@pytest.mark.parametrize("body", [{}, {"pods": [{"name": "x"}]}, "<html>gateway</html>", {"pods": None}])
async def test_an_answer_that_is_not_what_it_should_be_is_told_as_that(
    body: object, runpod_api: Fake, opened: Any
) -> None:
    async with opened() as session:
        runpod_api.faults.fail("GET /v2/pods", 200, body=body)
        with pytest.raises(ProviderError, match="RunPod answered GET /v2/pods with something else than was expected"):
            await session.list_owned()


async def test_pods_of_strangers_may_look_like_anything(runpod_api: Fake, opened: Any) -> None:
    odd = {"id": "odd", "env": {"A": None}, "ssh": None, "cost": None, "status": "HIBERNATING", "new": {"field": 1}}
    async with opened() as session:
        runpod_api.faults.fail("GET /v2/pods", 200, body={"pods": [odd, {"id": "bare"}]})
        assert await session.list_owned() == []


async def test_lists_that_do_not_end_are_given_up(runpod_api: Fake, opened: Any) -> None:
    async with opened() as session:
        for number in range(100):
            body = {"pods": [], "nextCursor": f"page{number}"}
            runpod_api.faults.fail("GET /v2/pods", 200, body=body)
        with pytest.raises(ProviderError, match="does not end after 100 pages"):
            await session.list_owned()
