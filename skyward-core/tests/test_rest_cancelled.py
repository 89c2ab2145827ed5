"""A cancellation at any moment: of a launch it leaves no machine, of a terminate none that is not ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from rest_moons import Moons, MoonServer, MoonSession, identity, request
from rest_server import Play, Seen

from skyward._rest.transfer import Transfer
from skyward.errors import ProviderError
from skyward.testing._loop import VirtualLoop, run


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[MoonServer]:
    """Clients ask the first of these servers in memory, so that each run takes the same steps."""
    servers: list[MoonServer] = []

    def answer(question: httpx.Request) -> httpx.Response:
        path, _, query = question.url.raw_path.decode().partition("?")
        body = json.loads(question.content) if question.content else None
        play = servers[0].answer(Seen(question.method, path, dict(parse_qsl(query)), dict(question.headers), body))
        if not play.status:
            raise httpx.ReadError("cut off", request=question)
        return httpx.Response(play.status, json=play.body, headers=dict(play.headers))

    def opened(transfer: Transfer) -> httpx.AsyncClient:
        transfer._loop = asyncio.get_running_loop()
        transfer._client = transfer._client or httpx.AsyncClient(transport=httpx.MockTransport(answer))
        return transfer._client

    monkeypatch.setattr(Transfer, "_opened", opened)
    return servers


type Act = Callable[[MoonSession], Awaitable[object]]


def cut_off(sky: MoonServer, before: Act, act: Act, after: Act, step: int | None) -> int | None:
    """Have ``act`` cancelled at a step of the loop; the steps that it took, ``None`` if it was over before."""
    loop = VirtualLoop()

    async def main() -> int | None:
        session = await Moons("http://127.0.0.1:1").open(identity())
        await before(session)
        start = loop.steps
        task = asyncio.ensure_future(act(session))
        if step is not None:
            loop.at_step[start + step] = task.cancel
        try:
            await task
        except asyncio.CancelledError:
            assert step is not None
        cut = task.cancelled()
        taken = loop.steps - start
        loop.at_step.clear()
        await after(session)
        await session.close()
        return taken if step is None or cut else None

    return run(main(), loop)


async def nothing(session: MoonSession) -> None:
    pass


def everywhere(at_once: list[MoonServer], make: Callable[[], MoonServer], before: Act, act: Act, after: Act) -> int:
    """Cancel ``act`` at each of its steps, on a server of its own each time; how often that was."""
    at_once[:] = [make()]
    steps = cut_off(at_once[0], before, act, after, None)
    assert steps is not None
    cuts = 0
    for step in range(1, steps + 1):
        at_once[:] = [make()]
        cuts += cut_off(at_once[0], before, act, after, step) is not None
    return cuts


@pytest.mark.parametrize(
    "plays", [[], [Play(0, effect=True)], [Play(503)], [Play(409)]], ids=["well", "lost", "503", "full"]
)
def test_a_launch_that_is_cancelled_at_any_step_leaves_nothing(at_once: list[MoonServer], plays: list[Play]) -> None:
    def make() -> MoonServer:
        sky = MoonServer()
        sky.play("POST /moons", *plays)
        return sky

    async def launch(session: MoonSession) -> None:
        try:
            machines = await session.launch(request(2))
        except ProviderError:
            return
        await session.terminate([each.id for each in machines])

    async def after(session: MoonSession) -> None:
        sky = at_once[0]
        # What is still found by its label is what a terminate that was cut off has left.
        await session.terminate([each.id for each in await session.list_owned()])
        assert not sky.ours
        assert sky.count("POST /moons") <= 2
        await session.close()
        assert not sky.keys

    assert everywhere(at_once, make, nothing, launch, after) > 20


def test_a_launch_alone_that_is_cancelled_at_any_step_leaves_no_machine(at_once: list[MoonServer]) -> None:
    async def after(session: MoonSession) -> None:
        if cancelled:
            assert not at_once[0].ours
            assert not await session.list_owned()

    cancelled: list[bool] = []

    async def launch(session: MoonSession) -> None:
        cancelled.clear()
        try:
            await session.launch(request(3))
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    assert everywhere(at_once, MoonServer, nothing, launch, after) > 10


def test_a_terminate_that_is_cancelled_at_any_step_has_ended_all_or_can_be_repeated(at_once: list[MoonServer]) -> None:
    names = ["m1", "m2", "m3"]

    async def launch(session: MoonSession) -> None:
        await session.launch(request(3))

    async def terminate(session: MoonSession) -> None:
        await session.terminate(names)

    async def after(session: MoonSession) -> None:
        sky = at_once[0]
        assert not sky.ours or sky.ours == names  # once begun it is seen through
        await session.terminate(names)
        assert not sky.ours
        assert not sky.keys

    assert everywhere(at_once, MoonServer, launch, terminate, after) > 10


@pytest.mark.parametrize("question", ["describe", "list_owned", "extend", "offers"])
def test_a_session_is_of_use_after_a_question_that_was_cancelled_at_any_step(
    at_once: list[MoonServer], question: str
) -> None:
    async def launch(session: MoonSession) -> None:
        await session.launch(request(2))

    async def ask(session: MoonSession) -> None:
        arguments: dict[str, tuple[Any, ...]] = {
            "describe": (["m1", "m2"],),
            "list_owned": (),
            "extend": (["m1", "m2"], 2_000_000_000.0),
            "offers": (request().spec,),
        }
        await getattr(session, question)(*arguments[question])

    async def after(session: MoonSession) -> None:
        assert (await session.describe(["m1", "m2"])).keys() == {"m1", "m2"}
        await session.extend(["m1", "m2"], 2_000_000_000.0)
        assert {each.deadline for each in await session.list_owned()} == {2_000_000_000.0}

    assert everywhere(at_once, MoonServer, launch, ask, after) > 0


def test_closing_that_is_cancelled_at_any_step_lets_go(at_once: list[MoonServer]) -> None:
    async def fail(session: MoonSession) -> None:
        at_once[0].play("POST /moons", Play(400))
        with pytest.raises(ProviderError):
            await session.launch(request())

    async def after(session: MoonSession) -> None:
        await session.close()
        assert session.rest._attempts.transfer._client is None

    assert everywhere(at_once, MoonServer, fail, lambda session: session.close(), after) > 0
