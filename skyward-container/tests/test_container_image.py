"""The image of the nodes: made once, of any base that will do, and without what must not be in it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from skyward import Image, Unavailable
from skyward_container import _image
from skyward_container._engine import Engine, find_engine
from skyward_container._image import NodeImage, node_image

type Podman = Callable[..., str]


@pytest.fixture
def engine(base: str) -> Engine:
    return asyncio.run(find_engine("podman"))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first words of what the engine is asked."""
    asked: list[str] = []
    ask = Engine.ask

    async def noted(self: Engine, *arguments: str, **options: Any) -> Any:
        asked.append(arguments[0])
        return await ask(self, *arguments, **options)

    monkeypatch.setattr(Engine, "ask", noted)
    return asked


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, podman: Podman) -> Iterator[Callable[[str], None]]:
    """Puts a short recipe in the place of the real one; what was made by it is removed."""
    mark = f"skyward.test={secrets.token_hex(6)}"
    real = _image._text
    tags: list[str] = []
    build = _image._build

    async def noted(engine: Engine, base: str, tag: str, *others: Any) -> None:
        tags.append(tag)
        await build(engine, base, tag, *others)

    def put(text: str) -> None:
        text = f"{text}\n# {mark}"  # so that no image of it is there already
        monkeypatch.setattr(_image, "_text", lambda name: text if name == "recipe.sh" else real(name))

    monkeypatch.setattr(_image, "_build", noted)
    yield put
    for tag in set(tags) & set(podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()):
        podman("rmi", tag)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, podman: Podman) -> Callable[[], bool]:
    """Whether a container is there in which this test makes an image; others may be there, of other programs."""
    own = secrets.token_hex(6)
    monkeypatch.setattr("skyward_container._image.secrets.token_hex", lambda _: own)
    return lambda: f"skyward-build-{own}" in podman("ps", "--all", "--format", "{{.Names}}").split()


def made(engine: Engine, base: str) -> NodeImage:
    return asyncio.run(node_image(engine, base, Image()))


def test_it_is_made_once_and_found_from_then_on(
    engine: Engine, base: str, commands: list[str], recipe: Any, podman: Podman
) -> None:
    recipe("echo made >/made")
    first = made(engine, base)
    assert commands.count("commit") == 1
    assert podman("run", "--rm", "--entrypoint", "cat", first.tag, "/made") == "made\n"
    del commands[:]
    assert made(engine, base) == first
    assert set(commands) == {"image"}


def test_another_recipe_makes_another_image(engine: Engine, base: str, recipe: Any) -> None:
    recipe("echo one")
    first = made(engine, base)
    recipe("echo two")
    assert made(engine, base).tag != first.tag


def test_it_is_made_once_though_several_ask_at_once(
    engine: Engine, base: str, commands: list[str], recipe: Any
) -> None:
    async def main() -> list[NodeImage]:
        return await asyncio.gather(*(node_image(engine, base, Image()) for _ in range(4)))

    recipe("echo made")
    assert len({image.tag for image in asyncio.run(main())}) == 1
    assert commands.count("commit") == 1


def test_the_environment_of_the_base_is_told(engine: Engine, base: str, recipe: Any) -> None:
    recipe("echo made")
    assert "/usr/bin" in made(engine, base).variables["PATH"].split(":")


def test_nothing_secret_stays_in_it(
    engine: Engine, base: str, recipe: Any, monkeypatch: pytest.MonkeyPatch, left: Any, podman: Podman
) -> None:
    secret = secrets.token_hex(12)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{secret}@proxy:3128")
    recipe('. /run/skyward/variables; echo "$HTTPS_PROXY" | cut -c 1-10; rm /run/skyward/variables')
    tag = made(engine, base).tag
    assert secret not in podman("image", "inspect", tag)
    assert secret not in podman("history", "--no-trunc", tag)
    assert podman("run", "--rm", "--entrypoint", "sh", tag, "-c", "ls -A /run/skyward 2>&1 || true").count("\n") == 1


def test_a_recipe_that_fails_is_shown_and_leaves_nothing(
    engine: Engine, base: str, recipe: Any, builds: Callable[[], bool]
) -> None:
    recipe("echo '::skyward:: apt started'; echo 'E: Unable to locate package'; echo '::skyward:: apt failed'; exit 3")
    with pytest.raises(
        Unavailable, match=r"(?s)preparation failed\nE: Unable to locate package\ncorrect what .*another one"
    ):
        made(engine, base)
    assert not builds()


def test_a_base_that_is_misspelt_is_named(engine: Engine) -> None:
    with pytest.raises(Unavailable, match=r"podman has no image localhost/debain-trixie") as caught:
        made(engine, "localhost/debain-trixie")
    assert "sky.Container(image=...)" in str(caught.value)


def test_making_it_can_be_cancelled_and_leaves_no_container(
    engine: Engine, base: str, recipe: Any, builds: Callable[[], bool]
) -> None:
    recipe("echo begun; sleep 1000")

    async def main() -> None:
        task = asyncio.ensure_future(node_image(engine, base, Image()))
        while not builds():  # noqa: ASYNC110 - an engine wakes nobody
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not builds()


def test_the_default_is_pythons_image_of_the_version_that_the_pool_asks_for() -> None:
    assert _image.default_base(Image(python="3.13")) == "docker.io/library/python:3.13-slim"
