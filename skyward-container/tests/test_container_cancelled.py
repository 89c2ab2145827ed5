"""What is left when a pool is given up while an engine is being asked; with programs that look like engines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
from giving_up import give_up

from skyward import Image
from skyward.spi import ComputeSpec, LaunchRequest, PoolIdentity
from skyward_container import Container
from skyward_container._engine import find_engine

IDENTITY = PoolIdentity(pool_id="p0", owner="me", deadline=None, lease=None, token=b"")

Programs = Callable[[str, str], str]


@pytest.mark.parametrize("impatient", [False, True])
@pytest.mark.parametrize("asking", [lambda: Container().open(IDENTITY), lambda: find_engine(None)])
def test_what_is_given_up_while_engines_are_asked_leaves_no_process(
    programs: Programs, tmp_path: Path, asking: Callable[[], Coroutine[Any, Any, object]], impatient: bool
) -> None:
    asked = tmp_path / "asked"
    os.mkfifo(asked)
    for name in ("docker", "podman"):
        programs(name, f"echo {name} >{asked}; sleep 1000")
    before = set(psutil.Process().children())

    async def main() -> None:
        task = asyncio.ensure_future(asking())
        await asyncio.to_thread(asked.read_text)
        await give_up(task, impatient=impatient)

    asyncio.run(main())
    assert set(psutil.Process().children()) == before


def test_a_network_that_was_ordered_for_a_launch_that_is_given_up_is_removed(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ordered, answer, log = (tmp_path / name for name in ("ordered", "answer", "log"))
    os.mkfifo(ordered)
    os.mkfifo(answer)
    programs(
        "podman",
        f"""
        echo "$1 $2" >>{log}
        case "$1 $2" in
            "info --format") echo '{{"host": {{"cpus": 4, "memTotal": 8000000000}}}}';;
            "image inspect") echo '[{{"Id": "base"}}]';;
            "network create") echo ordered >{ordered}; cat {answer};;
        esac
        """,
    )

    async def main() -> None:
        session = await Container(binary="podman", image="base").open(IDENTITY)
        spec = ComputeSpec(nodes=1, image=Image(python="3.13"))
        [offer] = await session.offers(spec)
        launch = asyncio.ensure_future(session.launch(LaunchRequest(offer=offer, nodes=(0,), spec=spec)))
        await asyncio.to_thread(ordered.read_text)
        launch.cancel()
        await asyncio.sleep(0)
        await asyncio.to_thread(answer.write_text, "made")
        with pytest.raises(asyncio.CancelledError):
            await launch
        await session.close()

    asyncio.run(main())
    asked = log.read_text().splitlines()
    assert "network rm" in asked[asked.index("network create") :]
