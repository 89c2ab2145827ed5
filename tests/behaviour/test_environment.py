"""Environment variables, the working folder, and what tasks find around them."""

from __future__ import annotations

from typing import Any

import pytest

import skyward as sky


@pytest.fixture(scope="module")
def variable() -> Any:
    @sky.compute
    def variable(*names: str) -> list[str | None]:
        import os

        return [os.environ.get(name) for name in names]

    return variable


def test_the_pools_and_the_images_variables_reach_the_tasks_and_the_pools_win(provider: Any, variable: Any) -> None:
    image = sky.Image(env={"SKY_IMAGE": "image", "SKY_BOTH": "image"})
    env = {"SKY_POOL": "pool", "SKY_BOTH": "pool", "SKY_EMPTY": "", "SKY_TEXT": "a b=\N{SNOWMAN}\nc"}
    with sky.ComputePool(provider, nodes=2, concurrency=2, image=image, env=env, display="quiet") as pool:
        names = ("SKY_IMAGE", "SKY_POOL", "SKY_BOTH", "SKY_EMPTY", "SKY_TEXT", "SKY_ABSENT")
        expected = ["image", "pool", "pool", "", "a b=\N{SNOWMAN}\nc", None]
        assert variable(*names) @ pool == (expected, expected)
        assert sky.gather(*(variable(*names) for _ in range(8))) >> pool == (expected,) * 8


def test_the_clients_own_variables_are_not_touched(provider: Any, variable: Any) -> None:
    import os

    with sky.ComputePool(provider, env={"SKY_POOL": "pool"}, display="quiet") as pool:
        assert variable("SKY_POOL") >> pool == ["pool"]
        assert "SKY_POOL" not in os.environ


def test_variables_are_there_when_the_tasks_modules_are_imported(provider: Any) -> None:
    @sky.compute
    def locale() -> str:
        import os

        return os.environ["TZ"] + os.popen("echo $TZ").read().strip()

    with sky.ComputePool(provider, env={"TZ": "Etc/GMT-3"}, display="quiet") as pool:
        assert locale() >> pool == "Etc/GMT-3Etc/GMT-3"


def test_values_of_variables_are_not_shown(provider: Any) -> None:
    pool = sky.ComputePool(provider, env={"TOKEN": "very-secret"}, image=sky.Image(env={"KEY": "very-secret"}))
    assert "very-secret" not in repr(pool)
    assert "very-secret" not in repr(pool._options)


def test_a_task_sees_no_terminal_and_an_empty_input(pool: sky.ComputePool) -> None:
    @sky.compute
    def look() -> tuple[bool, str]:
        import sys

        return sys.stdout.isatty(), sys.stdin.read()

    assert look() >> pool == (False, "")


def test_a_task_runs_in_the_main_thread_of_its_process(pool: sky.ComputePool) -> None:
    @sky.compute
    def look() -> bool:
        import signal
        import threading

        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        return threading.current_thread() is threading.main_thread()

    assert look() >> pool


def test_a_task_may_use_asyncio_threads_and_processes(pool: sky.ComputePool) -> None:
    @sky.compute
    def work() -> list[int]:
        import asyncio
        import concurrent.futures
        import multiprocessing

        async def three() -> int:
            return 3

        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            one = threads.submit(abs, -1).result()
        with multiprocessing.get_context("fork").Pool(1) as processes:
            two = processes.apply(abs, (-2,))
        return [one, two, asyncio.run(three())]

    assert work() >> pool == [1, 2, 3]


def test_what_a_task_leaves_in_its_process_is_there_for_the_next_one(provider: Any) -> None:
    @sky.compute
    def count() -> Any:
        import builtins

        builtins.__dict__["_kept"] = builtins.__dict__.get("_kept", 0) + 1
        return builtins.__dict__["_kept"]

    with sky.ComputePool(provider, display="quiet") as pool:
        assert [count() >> pool for _ in range(3)] == [1, 2, 3]


CWD = """
    import os, sys
    import skyward as sky

    @sky.compute
    def look():
        return os.getcwd()

    with sky.ComputePool(PROVIDER, display="quiet") as pool:
        print(look() >> pool == os.getcwd())
"""


def test_local_tasks_run_in_the_clients_working_folder(script: Any, provider: Any) -> None:
    if isinstance(provider, sky.Local):
        assert script(CWD).stdout == "True\n"
