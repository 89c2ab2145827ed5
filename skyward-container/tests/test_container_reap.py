"""``skyward reap`` with real containers: of clients that were killed, of living ones, and as seen from another host."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import skyward as sky
from skyward.spi import ComputeSpec, InstanceState, LaunchRequest, PoolIdentity
from skyward_container import Container

CLIENT = """
import signal
import sys
import skyward as sky
from skyward_container import Container

with sky.ComputePool({provider!r}, lease=600, display="quiet"):
    print("in", flush=True)
    signal.pause()
"""


@pytest.fixture
def reap(tmp_path: Path, left: Any, base: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs ``python -m skyward reap --json``, in whose eyes there are the containers of this test and no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "podman"
    real = shutil.which("podman")
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = ps ]; then {real} "$@" | grep -x -F -f {folder}/ours; exit 0; fi\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "kept"))
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    environment.pop("SKYWARD_DISABLE_PLUGINS", None)

    def run(*options: str, command: tuple[str, ...] = (sys.executable, "-m", "skyward")) -> dict[str, Any]:
        (folder / "ours").write_text("".join(f"{name}\n" for name in left()))
        done = subprocess.run(
            [*command, "reap", "--json", "--provider", "Container", *options],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.stdout, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return {**told, "status": done.returncode}

    return run


@pytest.fixture
def client(provider: Container, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts programs with a pool of one container and a long lease, whose ledgers are in a folder of this name."""
    started: list[subprocess.Popen[str]] = []

    def start(state: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT.format(provider=provider)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path / state)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def containers(left: Callable[[], list[str]]) -> set[str]:
    return {name for name in left() if name.count("-") > 2}


def test_what_killed_clients_left_is_listed_and_removed_with_and_without_their_ledgers(
    client: Any, reap: Any, left: Any, pool: Any, tmp_path: Path
) -> None:
    @sky.compute
    def fine() -> bool:
        return True

    with pool() as running:
        living = containers(left)
        clients = [client("kept"), client("lost")]
        for process in clients:
            assert process.stdout.readline() == "in\n"
        dead = containers(left) - living
        assert len(dead) == 2
        assert not reap("--dry-run")["machines"], "their clients live"
        for process in clients:
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(tmp_path / "lost")
        found = reap("--dry-run")
        assert found["status"] == 1
        assert {machine["id"] for machine in found["machines"]} == dead
        assert {machine["why"] for machine in found["machines"]} == {"its client has died"}
        assert len(found["pools"]) == 1
        assert containers(left) == living | dead, "a dry run removes nothing"
        removed = reap()
        assert (removed["status"], removed["problems"]) == (0, [])
        assert {machine["id"] for machine in removed["removed"]} == dead
        assert len(left()) == 2, "the living pool has its container and its network"
        ledgers = list((tmp_path / "kept" / "skyward" / "pools").iterdir())
        assert [path.stem in next(iter(living)) for path in ledgers] == [True]
        assert fine() >> running


LATER = """
import sys
import time

now = time.time
time.time = lambda: now() + 4000.0

from skyward._cli import main

sys.exit(main(sys.argv[1:]))
"""

ELSEWHERE = """
mount --make-rprivate /proc
mount --bind "$1" /proc/sys/kernel/random/boot_id
shift
exec "$@"
"""


def test_an_extended_pool_is_not_left_over_in_the_eyes_of_another_host(
    reap: Any, left: Any, pool: Any, require: Any, tmp_path: Path
) -> None:
    """Which host this is, a process knows by the kernel's word; here it gets another one, more than an hour later."""
    word = tmp_path / "boot_id"
    word.write_text("00000000-0000-0000-0000-000000000000\n")
    other = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-ec", ELSEWHERE, "sh", str(word))
    works = shutil.which("unshare") and not subprocess.run([*other, "true"], capture_output=True).returncode
    require(works, "the right to make a mount namespace", ci=False)

    def seen() -> dict[str, str]:
        told = reap(
            "--dry-run",
            command=("env", f"XDG_STATE_HOME={tmp_path}/nothing", *other, sys.executable, "-c", LATER),
        )
        return {machine["id"]: machine["why"] for machine in told["machines"]}

    with sky.MultiPool(pool(timeout=3600), pool(timeout=3600)) as (extended, forgotten):
        before = containers(left)
        assert seen() == dict.fromkeys(before, "its deadline has passed")
        extended.extend(7200)
        (late,) = seen()
        assert forgotten.is_active
        mine = next(name for name in before if name != late)
        extended.extend(600)
        assert set(seen()) == {mine, late}


def test_the_switch_of_a_container_follows_its_deadline_before_anybody_is_connected(provider: Container) -> None:
    def identity(life: float) -> PoolIdentity:
        return PoolIdentity(
            pool_id=f"reap-{secrets.token_hex(5)}", owner="me@here", deadline=time.time() + life, lease=None, token=b"t"
        )

    async def main() -> None:
        spec = ComputeSpec(nodes=1, image=sky.Image())
        sessions = [await provider.open(identity(600)) for _ in range(2)]
        names = []
        try:
            for session in sessions:
                (offer,) = await session.offers(spec)
                # The image is there after the first one, so the short life begins only now.
                session._identity = evolve(session._identity, deadline=time.time() + 4)
                names += [each.id for each in await session.launch(LaunchRequest(offer=offer, nodes=(0,), spec=spec))]
                if len(names) == 1:
                    await session.extend(names, time.time() + 600)

            async def lives(name: str) -> bool:
                found = (await sessions[0].describe([name])).get(name)
                return found is not None and found.state is not InstanceState.GONE

            async def end_of(name: str) -> None:
                while await lives(name):  # noqa: ASYNC110 -- nothing announces it
                    await asyncio.sleep(0.2)

            async with asyncio.timeout(120):
                await end_of(names[1])  # the younger one, which was not extended
                assert await lives(names[0])
                await sessions[0].extend(names, time.time() - 1)
                await end_of(names[0])
        finally:
            for session in sessions:
                await session.terminate(names)
                await session.close()

    asyncio.run(main())
