"""Local nodes with packages of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import skyward as sky

from .conftest import PATIENCE, until


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own for environments, with uv's shared, so that nothing is fetched twice."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
        yield folder


def look() -> Any:
    @sky.compute
    def look() -> dict[str, Any]:
        import sys

        import six  # type: ignore[import-untyped]

        return {
            "six": six.__file__,
            "python": sys.executable,
            "prefix": sys.prefix,
            "node": sky.instance_info().node,
            "skyward": sky.__file__,
        }

    return look


def test_nodes_run_under_an_environment_that_is_built_once(cache: Path, small: Callable[..., Any]) -> None:
    seen = look()
    phases: list[tuple[str, str]] = []
    metrics: list[sky.Metrics] = []

    def notice(event: Any) -> None:
        if isinstance(event, sky.BootstrapPhase):
            phases.append((event.step, event.state))

    image = sky.Image(pip=["six"])
    with small(nodes=2, image=image, on_event=notice) as pool:
        both = seen() @ pool
        assert [answer["node"] for answer in both] == [0, 1]
        for answer in both:
            assert answer["six"].startswith(str(cache))
            assert answer["python"].startswith(str(cache))
            assert answer["prefix"].startswith(str(cache))
            assert answer["skyward"].startswith(str(cache)), "the client's skyward was brought along"
        pool.on(sky.Metrics, metrics.append)
        until(lambda: metrics)
        assert metrics[0].memory_percent is not None
    assert ("deps", "completed") in phases
    assert len(list((cache / "skyward" / "envs").glob("*/ready"))) == 1
    made = {path: path.stat().st_mtime_ns for path in (cache / "skyward" / "envs").glob("*/ready")}
    with small(image=image) as pool:
        assert (seen() >> pool)["six"] == both[0]["six"]
    assert made == {path: path.stat().st_mtime_ns for path in (cache / "skyward" / "envs").glob("*/ready")}


def test_a_slot_that_dies_serves_again_under_the_same_environment(cache: Path, small: Callable[..., Any]) -> None:
    seen = look()

    @sky.compute
    def die() -> None:
        import os

        os._exit(1)

    with small(image=sky.Image(pip=["six"])) as pool:
        with pytest.raises(sky.SlotDied):
            die() >> pool
        assert (seen() >> pool)["six"].startswith(str(cache))


def test_a_package_that_does_not_exist_fails_the_start_with_the_resolvers_words(
    cache: Path, small: Callable[..., Any], at_home: Any
) -> None:
    image = sky.Image(pip=["surely-no-such-package-as-this"])
    with pytest.raises(sky.BootstrapError, match="surely-no-such-package-as-this") as caught, small(image=image):
        pass
    assert caught.value.phase == "deps"
    assert at_home.processes() == []
    assert at_home.files() == []


BUILDING = """
variables = {"UV_CACHE_DIR": sys.argv[0] + ".cache", "UV_DEFAULT_INDEX": INDEX, "UV_INDEX_URL": INDEX}
os.environ.update(variables)
with pool(image=sky.Image(pip=["six"])):
    pass
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_an_environment_that_is_being_built_ends_with_its_client(
    home: Any, client: Callable[..., Any], how: signal.Signals
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as index:  # an index that never answers, so that uv waits
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        program = client(
            BUILDING.replace("INDEX,", f"{url!r},").replace("INDEX}", f"{url!r}}}"),
            XDG_CACHE_HOME=str(home.path / "cache"),
        )
        index.settimeout(PATIENCE)
        try:
            connection, _ = index.accept()
        except TimeoutError:
            program.close()
            pytest.fail("uv did not ask: " + "".join(program.errors))
        with connection:
            program.signal(how)
            program.end()
            assert home.all_ended()
    assert home.files() == []
    assert not list((home.path / "cache").glob("skyward/envs/*/ready"))


def test_a_build_may_take_longer_than_the_lease(
    cache: Path, small: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from skyward import _environment

    build = _environment.ensure_environment

    async def slowly(*arguments: Any, **options: Any) -> Path:
        await asyncio.sleep(4.0)
        return await build(*arguments, **options)

    monkeypatch.setattr(_environment, "ensure_environment", slowly)
    with small(nodes=2, image=sky.Image(pip=["six"]), lease=3.0) as pool:
        assert [answer["node"] for answer in look()() @ pool] == [0, 1]


def test_a_node_that_is_ready_waits_for_the_others_longer_than_its_lease(
    small: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from skyward._local_transport import LocalTransport

    @sky.compute
    def node() -> int:
        return sky.instance_info().node

    made = LocalTransport.bootstrap

    async def one_slowly(self: Any, *arguments: Any) -> Any:
        if self._machine.name.endswith("-1-1"):
            async with self._kept_alive():
                await asyncio.sleep(4.0)
        return await made(self, *arguments)

    monkeypatch.setattr(LocalTransport, "bootstrap", one_slowly)
    with small(nodes=2, lease=3.0) as pool:
        assert node() @ pool == (0, 1)
