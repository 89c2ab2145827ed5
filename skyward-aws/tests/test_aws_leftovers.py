"""Whatever goes wrong on the way, nothing is left: answers that are lost, calls that fail, clients that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from rig.rig import Rig

import skyward as sky
from skyward import ProviderError
from skyward.spi import ComputeSpec, InstanceState, LaunchRequest, PoolIdentity
from skyward_aws import AWS, _belongings, _orders
from skyward_aws._api import Api
from skyward_aws._session import AWSSession

type Opened = Callable[..., AbstractAsyncContextManager[AWSSession]]

SPEC = ComputeSpec(nodes=2, image=sky.Image())
STAGES = (
    "ImportKeyPair",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "CreateLaunchTemplate",
    "CreateFleet",
    "DeleteLaunchTemplate",
    "TerminateInstances",
    "DeleteSecurityGroup",
    "DeleteKeyPair",
)
"""What changes something, in the order of a pool's life."""
PATIENCE = 180.0

CLIENTS = """
import asyncio, os, secrets, sys, time
import skyward as sky
from botocore.config import Config
from skyward._client import this_client
from skyward.spi import ComputeSpec, InstanceState, LaunchRequest, PoolIdentity
from skyward_aws import AWS, _api

api = _api._made(_api.Api, "us-east-1", None)
api._configs = {once: config.merge(Config(read_timeout=600)) for once, config in api._configs.items()}
for service in ("ec2", "ssm", "sts", "pricing"):
    for once in (False, True):
        api._client(service, "us-east-1", once=once)
_api._made = lambda *_: api

async def life():
    who = PoolIdentity(
        pool_id=f"dead-{secrets.token_hex(5)}", owner="ada@lab", deadline=time.time() + 3600, lease=600.0,
        token=b"t" * 16, client=this_client(),
    )
    spec = ComputeSpec(nodes=2, image=sky.Image())
    session = await AWS(ssh_from="198.51.100.7/32").open(who)
    session._tried = True
    first, *others = [each for each in await session.offers(spec) if each.market == "spot"]
    asked = LaunchRequest(offer=first, nodes=(0, 1), spec=spec, alternatives=tuple(others))
    ids = [each.id for each in await session.launch(asked)]
    while True:
        await session.terminate(ids)
        if all(each.state is InstanceState.GONE for each in (await session.describe(ids)).values()):
            break
    await session.close()

for _ in range(int(sys.argv[1])):
    if not (child := os.fork()):
        asyncio.run(life())
        os._exit(0)
    print(child, flush=True)
"""
"""As many clients as its argument says, each of which lives the life of a pool. Trials are left out."""


async def lived(session: AWSSession) -> None:
    """The life of a pool of two machines, which core would try again to end."""
    session._tried = True  # trials are calls, too
    first, *others = [each for each in await session.offers(SPEC) if each.market == "spot"]
    asked = LaunchRequest(offer=first, nodes=(0, 1), spec=SPEC, alternatives=tuple(others))
    try:
        ids = [each.id for each in await session.launch(asked)]
    except ProviderError:
        ids = [each.id for each in await session.list_owned(session._identity.pool_id)]
    for _ in range(5):
        try:
            await session.terminate(ids)
            found = (await session.describe(ids)).values()
        except ProviderError:
            continue
        if all(each.state is InstanceState.GONE for each in found):
            return


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lost", "failed"])
def test_nothing_is_left_whichever_answer_is_lost_and_whichever_call_fails(
    aws_api: Rig, settings: AWS, identity: Callable[..., PoolIdentity], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(_orders, "_LOOKS", (0.0,) * 2)
    monkeypatch.setattr(_belongings, "_PAUSE", 0.01)

    async def main() -> None:
        api = await Api.open(settings.region, None)

        async def same(*_: object) -> Api:
            return api

        monkeypatch.setattr(Api, "open", same)  # boto3 takes a second to begin
        for action in STAGES:
            if fault == "lost":
                aws_api.faults.lose(action)
            else:
                aws_api.faults.fail(action, "InternalError", 500, times=6)
            session = await settings.open(identity())
            await lived(session)
            await session.close()
            aws_api.faults.clear()
            pool = session._identity.pool_id
            broom = await settings.open(identity())
            while left := [each.id for each in (*await broom.list_owned(pool), *await broom.list_left(pool))]:
                known = (await broom.describe(left)).values()
                if all(each.state is InstanceState.GONE for each in known):
                    break
                assert fault == "failed", (action, left)
                await broom.terminate(left)
            await broom.close()
            assert aws_api.left() == {}, action
        await api.close()

    asyncio.run(main())


@pytest.fixture
def killed(aws_api: Rig) -> Iterator[Callable[[], None]]:
    """Starts a client for each stage, and kills them all while each is in its own one, whose call comes afterwards."""
    there, go = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        there.release()
        go.wait(PATIENCE)

    started: list[subprocess.Popen[str]] = []
    children: list[int] = []

    def end() -> None:
        for child in children:
            os.kill(child, signal.SIGKILL)
        children.clear()

    def run() -> None:
        for action in STAGES:
            aws_api.faults.delay(action, hold, times=1)
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENTS, str(len(STAGES))], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        children.extend(int(process.stdout.readline()) for _ in STAGES)
        for number, _ in enumerate(STAGES):
            assert there.acquire(timeout=PATIENCE), f"{number} clients alone have come to their stages"
        before = len(aws_api.world.calls)
        end()
        go.set()
        while len(aws_api.world.calls) < before + len(STAGES):
            threading.Event().wait(0.05)
        with aws_api.world.lock:  # the last of them has had its effect
            pass

    yield run
    go.set()
    for process in started:
        end()
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_of_clients_that_were_killed_at_each_stage_everything_is_found_by_tag_and_removed(
    aws_api: Rig, killed: Callable[[], None], reap: Callable[..., dict[str, Any]]
) -> None:
    killed()
    kinds = {"instance", "volume", "key-pair", "security-group", "launch-template"}
    assert set(aws_api.left()) == kinds
    removed = reap(aws_api)
    assert (removed["status"], removed["problems"]) == (0, [])
    assert {each["why"] for each in removed["machines"]} == {"its client has died"}
    assert aws_api.left() == {}


POOL = """
import signal
import skyward as sky
from skyward_aws import AWS

with sky.ComputePool(AWS(ssh_from="198.51.100.7/32"), lease=20, display="quiet"):
    print("in", flush=True)
    signal.pause()
"""


@pytest.mark.slow
def test_machines_of_a_client_that_was_killed_end_themselves_and_the_rest_is_removed_from_anywhere(
    aws: Rig, reap: Callable[..., dict[str, Any]]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "in\n"
        [machine] = aws.existing()
    finally:
        process.kill()
        process.communicate()
    assert aws.machine(machine).ended.wait(PATIENCE)
    while aws.existing():  # its end has yet to be noted
        threading.Event().wait(0.05)
    removed = reap(aws)
    assert (removed["status"], removed["problems"]) == (0, [])
    assert aws.left() == {}
