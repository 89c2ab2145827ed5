"""Which engine is taken, and what is said where there is none; with programs that look like engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil
import pytest

from skyward.errors import Transient, Unavailable
from skyward_container import _engine
from skyward_container._engine import Engine, find_engine

DOCKER = """echo '{"NCPU": 8, "MemTotal": 16000000000, "ServerVersion": "28.2.2"}'"""
PODMAN = """echo '{"host": {"cpus": 4, "memTotal": 8000000000}}'"""
ALONE = """
echo '{"ID": "", "NCPU": 0, "MemTotal": 0, "ServerErrors": ["Cannot connect to the Docker daemon at unix:///x"]}'
echo 'Cannot connect to the Docker daemon at unix:///x' >&2
"""

Programs = Callable[[str, str], str]


def test_the_first_that_answers_is_taken(programs: Programs) -> None:
    path = programs("docker", DOCKER)
    programs("podman", PODMAN)
    assert asyncio.run(find_engine(None)) == Engine(path, cpus=8, memory=16_000_000_000)


@pytest.mark.parametrize("status", [0, 1])
def test_a_client_without_an_engine_is_passed_over(programs: Programs, status: int) -> None:
    programs("docker", f"{ALONE}\nexit {status}")
    path = programs("podman", PODMAN)
    assert asyncio.run(find_engine(None)) == Engine(path, cpus=4, memory=8_000_000_000)


def test_an_engine_that_hangs_is_passed_over(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine, "_ANSWER_LIMIT", 0.2)
    programs("docker", "sleep 1000")
    path = programs("nerdctl", DOCKER)
    assert asyncio.run(find_engine(None)).program == path


def test_without_any_the_error_says_what_to_do(programs: Programs) -> None:
    programs("docker", f"{ALONE}\nexit 1")
    programs("nerdctl", "echo nonsense")
    with pytest.raises(Unavailable) as caught:
        asyncio.run(find_engine(None))
    said = str(caught.value)
    assert "docker does not answer: Cannot connect to the Docker daemon at unix:///x" in said
    assert "podman is not installed" in said
    assert "nerdctl does not answer: nonsense" in said
    assert "apt-get install podman" in said
    assert "sky.Local()" in said


def test_a_misspelt_program_is_named_with_what_was_meant(programs: Programs) -> None:
    with pytest.raises(Unavailable, match=r"binary='podmann' is not installed: did you mean 'podman'\?"):
        asyncio.run(find_engine("podmann"))


def test_a_program_that_was_asked_for_is_the_only_one_that_is_tried(programs: Programs) -> None:
    programs("docker", DOCKER)
    with pytest.raises(Unavailable, match="binary='podman' is not installed: install one"):
        asyncio.run(find_engine("podman"))


def test_a_program_may_be_given_by_its_path(programs: Programs) -> None:
    path = programs("my-engine", DOCKER)
    assert asyncio.run(find_engine(path)).name == "my-engine"


def test_a_command_without_an_answer_is_a_passing_failure(programs: Programs) -> None:
    engine = Engine(programs("docker", "sleep 1000"), cpus=1, memory=1)
    with pytest.raises(Transient, match=r"docker did not answer to `docker ps` within 0\.2 s"):
        asyncio.run(engine.ask("ps", limit=0.2))


def test_a_program_that_is_removed_meanwhile_is_a_passing_failure(programs: Programs) -> None:
    with pytest.raises(Transient, match="cannot be run any more"):
        asyncio.run(Engine("/nowhere/docker", cpus=1, memory=1).ask("ps"))


@pytest.mark.parametrize(
    "words",
    [
        "Error response from daemon: No such container: x",
        "Error: inspecting object: no such container x",
        "Error: inspecting object: x: image not known",
        "Error response from daemon: network x not found",
        "Error: No such object: x",
    ],
)
def test_what_an_engine_does_not_have_is_left_out(programs: Programs, words: str) -> None:
    engine = Engine(programs("docker", f"""echo '[{{"Name": "y"}}]'; echo '{words}' >&2; exit 1"""), cpus=1, memory=1)
    assert asyncio.run(engine.inspect("container", ["x", "y"])) == [{"Name": "y"}]


@pytest.mark.parametrize(
    "words",
    [
        "Error: inspecting object: invalid reference format",
        "Error response from daemon: invalid reference format: repository name (library/Debian) must be lowercase",
    ],
)
def test_what_cannot_be_the_name_of_an_image_is_told_at_once(programs: Programs, words: str) -> None:
    engine = Engine(programs("docker", f"echo '[]'; echo '{words}' >&2; exit 1"), cpus=1, memory=1)
    with pytest.raises(Unavailable, match=r"'Debian 13' cannot be .* write it as in docker\.io/"):
        asyncio.run(engine.inspect("image", ["Debian 13"]))


def test_the_attempts_that_podman_logs_do_not_hide_why_it_failed(programs: Programs) -> None:
    logged = "\n".join(f'time="2026-03-01T12:00:0{n}Z" level=warning msg="Failed, retrying in 1s"' for n in range(9))
    engine = Engine(programs("podman", f"cat >&2 <<'%'\n{logged}\nError: no route\n%\nexit 125"), cpus=1, memory=1)
    assert asyncio.run(engine.ask("pull", "x")).words == "Error: no route"
    engine = Engine(programs("podman", f"cat >&2 <<'%'\n{logged}\n%\nexit 125"), cpus=1, memory=1)
    assert "retrying" in asyncio.run(engine.ask("pull", "x")).words, "it is all there is"


@pytest.mark.parametrize(
    "words",
    [
        "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
        "dial unix /var/run/docker.sock: connect: no such file or directory",
        "permission denied while trying to connect",
    ],
)
def test_an_engine_that_is_gone_does_not_pass_for_one_that_has_nothing(programs: Programs, words: str) -> None:
    engine = Engine(programs("docker", f"echo '[]'; echo '{words}' >&2; exit 1"), cpus=1, memory=1)
    with pytest.raises(Transient, match=words[:20]):
        asyncio.run(engine.inspect("container", ["x"]))


def test_a_cancelled_change_is_seen_through(programs: Programs) -> None:
    """Else a container could come to be after it was looked for."""
    engine = Engine(programs("docker", "echo begun >>${0%/*}/log; cat >/dev/null; echo done >>${0%/*}/log"), 1, 1)
    log = engine.program.removesuffix("docker") + "log"

    async def main() -> None:
        task = asyncio.ensure_future(engine.ask("run", stdin=b"x" * 100_000, whole=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    try:
        with open(log) as file:
            assert file.read() == "begun\ndone\n"
    except FileNotFoundError:  # cancelled before it was started
        pass


@pytest.mark.parametrize("steps", range(8))
def test_a_cancelled_question_leaves_no_process(programs: Programs, steps: int) -> None:
    engine = Engine(programs("docker", "sleep 1000"), cpus=1, memory=1)
    before = set(psutil.Process().children())

    async def main() -> None:
        task = asyncio.ensure_future(engine.ask("ps"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert set(psutil.Process().children()) == before
