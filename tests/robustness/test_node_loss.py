"""A node that is lost takes nothing along but its own tasks, and another one comes in its place."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward import _local_processes

from .conftest import PATIENCE, until, wait_for_exit


def tasks(folder: Path) -> tuple[Any, Any, Any]:
    @sky.compute
    def where() -> tuple[int, int]:
        import os

        return sky.instance_info().node, os.getppid()

    @sky.compute
    def wait(name: str) -> str:
        import os
        import time

        (folder / f"{name}.{os.getpid()}").touch()
        while not (folder / "go").exists():
            time.sleep(0.001)
        return name

    @sky.compute(retry=1)
    def wait_again(name: str) -> str:
        import os
        import time

        (folder / f"{name}.{os.getpid()}").touch()
        while not (folder / "go").exists():
            time.sleep(0.001)
        return name

    return where, wait, wait_again


def began(folder: Path, name: str, times: int = 1) -> Callable[[], bool]:
    return lambda: len(list(folder.glob(f"{name}.*"))) >= times


def test_what_ran_on_a_lost_node_is_unknown_or_runs_again_and_the_node_is_replaced(
    at_home: Any, small: Callable[..., Any], tmp_path: Path
) -> None:
    where, wait, wait_again = tasks(tmp_path)
    replaced: list[sky.NodeReplaced] = []
    with small(nodes=2) as pool:
        pool.on(sky.NodeReplaced, replaced.append)
        supervisors = dict(where() @ pool)
        folders = set(next(at_home.temporary.iterdir()).iterdir())
        assert len(folders) == 2
        for task in (wait("once"), wait_again("again")):
            name = task.args[0]
            running = pool.submit(task)
            until(began(tmp_path, name))
            slot = int(next(tmp_path.glob(f"{name}.*")).suffix[1:])
            victim = int(Path(f"/proc/{slot}/stat").read_text().rpartition(")")[2].split()[1])
            assert victim in supervisors.values()
            os.kill(victim, signal.SIGKILL)
            assert wait_for_exit(slot), "slots die with their supervisor"
            if name == "once":
                error = running.exception(PATIENCE)
                assert isinstance(error, sky.OutcomeUnknown)
                assert "@sky.compute(retry=1)" in str(error)
            else:
                until(began(tmp_path, name, 2))
                (tmp_path / "go").touch()
                assert running.result(PATIENCE) == "again"
            now = dict(where() @ pool)  # waits for the new node
            assert set(now) == {0, 1}
            assert victim not in now.values()
            supervisors = now
        until(lambda: len(replaced) == 2)  # it is said once the new node takes tasks
        left = set(next(at_home.temporary.iterdir()).iterdir())
        assert len(left) == 2, "the folders of the lost nodes are gone"
        assert pool.instance_count == 2
    assert at_home.files() == []
    assert at_home.processes() == []


def test_a_broadcast_ends_when_a_node_is_lost_under_it(small: Callable[..., Any], tmp_path: Path) -> None:
    where, _, _ = tasks(tmp_path)

    @sky.compute
    def both() -> str:
        import os
        import time

        node = sky.instance_info().node
        (tmp_path / f"both{node}.{os.getppid()}.{os.getpid()}").touch()
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        return f"node {node}"

    with small(nodes=2) as pool:
        import concurrent.futures

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            answers = threads.submit(pool.broadcast, both())
            until(began(tmp_path, "both0"))
            until(began(tmp_path, "both1"))
            supervisor, slot = map(int, next(tmp_path.glob("both1.*")).name.split(".")[1:])
            os.kill(supervisor, signal.SIGKILL)
            assert wait_for_exit(slot)
            (tmp_path / "go").touch()
            with pytest.raises(sky.OutcomeUnknown, match="node 1"):
                answers.result(PATIENCE)
        assert [node for node, _ in where() @ pool] == [0, 1]


def test_when_every_node_is_lost_and_none_can_be_bought_tasks_fail_with_the_reason(
    small: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, wait, _ = tasks(tmp_path)
    with small(nodes=2) as pool:
        supervisors = dict(where() @ pool)
        running = [pool.submit(wait(f"task{number}")) for number in range(2)]
        waiting = [pool.submit(wait(f"late{number}")) for number in range(3)]
        for number in range(2):
            until(began(tmp_path, f"task{number}"))

        def refuse(*_: object) -> None:
            raise OSError("no more processes")

        monkeypatch.setattr(_local_processes, "start", refuse)
        for pid in supervisors.values():
            os.kill(pid, signal.SIGKILL)
        for future in running:
            assert isinstance(future.exception(PATIENCE), sky.OutcomeUnknown)
        for future in waiting:
            error = future.exception(PATIENCE)
            assert isinstance(error, (sky.NodeLost, sky.OutcomeUnknown)), error
        with pytest.raises(sky.NodeLost, match="open a new pool"):
            where() >> pool
        with pytest.raises(sky.NodeLost, match="node 0 is gone"):
            where() @ pool
        assert pool.instance_count == 0


def test_the_block_can_be_left_while_a_node_is_being_replaced(at_home: Any, small: Callable[..., Any]) -> None:
    @sky.compute
    def supervisor() -> int:
        import os

        return os.getppid()

    for _ in range(3):
        with small() as pool:
            os.kill(supervisor() >> pool, signal.SIGKILL)
        assert at_home.processes() == []
        assert at_home.files() == []
        with small() as pool:
            lost: list[object] = []
            pool.on(sky.InstancePreempted, lost.append)
            os.kill(supervisor() >> pool, signal.SIGKILL)
            until(lambda: lost)  # noqa: B023
        assert at_home.processes() == []
        assert at_home.files() == []


def test_a_supervisor_that_dies_at_its_start_gives_its_last_words(
    at_home: Any, small: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "selectors.py").write_text("raise SystemExit('no selectors today')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(sky.SkywardError, match="no selectors today"), small():
        pass
    assert at_home.files() == []


def test_processes_of_nodes_are_found_by_their_marks_alone(small: Callable[..., Any]) -> None:
    @sky.compute
    def start() -> int:
        import subprocess

        return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid

    launched: list[Any] = []
    with small(on_event=lambda event: launched.append(event) if isinstance(event, sky.InstanceLaunched) else None) as p:
        pid = start() >> p
        name = until(lambda: launched)[0].instance_id
        pool_id = name.split("-")[1]
        (mark,) = _local_processes.find(pool_id)
        assert mark.name == name
        assert pid in mark.pids
        assert len(mark.pids) == 3
        assert _local_processes.find("nobody") == []
    assert _local_processes.find(pool_id) == []
    assert wait_for_exit(pid)


def test_ending_machines_twice_or_ending_unknown_ones_does_nothing() -> None:
    import asyncio

    from skyward.spi.provider import PoolIdentity

    async def main() -> None:
        identity = PoolIdentity(pool_id="0123456789", owner="me", deadline=None, lease=5.0, token=b"t" * 32)
        session = await sky.Local().open(identity)
        await session.terminate(["local-unknown"])
        await session.terminate([])
        assert await session.describe(["local-unknown"]) == {}
        await session.close()
        await session.close()

    asyncio.run(main())


def test_the_deadline_cuts_off_what_runs_and_names_its_parameter(at_home: Any, small: Callable[..., Any]) -> None:
    @sky.compute
    def sleep() -> None:
        import time

        time.sleep(1000)

    warned: list[sky.TimeoutApproaching] = []
    with small(timeout=60, nodes=2) as pool:
        pool.on(sky.TimeoutApproaching, warned.append)
        pool.extend(2)  # from here on, however long the start has taken
        with pytest.raises(sky.PoolTimeout, match="timeout="):
            sleep() >> pool
        with pytest.raises(sky.PoolTimeout, match="timeout="):
            until(lambda: pool.instance_count == 0)
            sleep() >> pool
        until(lambda: warned)
    assert at_home.files() == []
    assert at_home.processes() == []


def test_extend_moves_the_deadline(small: Callable[..., Any]) -> None:
    @sky.compute
    def sleep(seconds: float) -> float:
        import time

        time.sleep(seconds)
        return seconds

    with small(timeout=60) as pool:
        pool.extend(2)
        pool.extend(60)
        assert sleep(2.5) >> pool == 2.5
        pool.extend(0.2)
        with pytest.raises(sky.PoolTimeout):
            sleep(30) >> pool


def test_without_a_lease_nodes_outlive_their_client_until_the_deadline(home: Any, client: Callable[..., Any]) -> None:
    program = client(
        """
        with pool(lease=None, timeout=10) as p:
            say("in")
            os._exit(0)
        """
    )
    program.hear("in")
    program.end()
    assert len(home.processes()) == 2
    assert home.all_ended()
    assert home.files() == []
