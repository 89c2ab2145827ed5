"""Environments of local nodes, built by the real uv from a package index that the test itself serves."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import io
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from processes_below import asked, below, wait_for_end

from skyward import _cache
from skyward._environment import ensure_environment
from skyward._uv import base_python, find_uv
from skyward.errors import BootstrapError
from skyward.model.image import Image, client_python

USER, WORD = "reader-of-all", "s3cr3t@word"
PATIENCE = 60


@functools.cache  # the file names the time at which it was made, and its digest is asked for apart from it
def wheel(name: str) -> bytes:
    """The smallest installable package; its module holds ``NAME``."""
    files = {
        f"{name}.py": f"NAME = {name!r}\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{name}-1.0.dist-info/RECORD"] = "".join(f"{file},,\n" for file in files)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return packed.getvalue()


class Index(ThreadingHTTPServer):
    """A package index behind a password. Packages named ``slow...`` arrive only once ``gate`` is open."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.url = f"http://{USER}:s3cr3t%40word@127.0.0.1:{self.server_port}/simple"
        self.open_url = f"http://127.0.0.1:{self.server_port}/simple"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle is what some tests are about."""


class Page(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        expected = base64.b64encode(f"{USER}:{WORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expected}":
            return self.reply(401, b"", {"WWW-Authenticate": 'Basic realm="index"'})
        name = self.path.strip("/").split("/")[-1]
        if name.endswith(".whl"):
            if name.startswith("slow"):
                self.server.asked.set()
                self.server.gate.wait(PATIENCE)
            return self.reply(200, wheel(name.partition("-")[0]), {})
        if not name.startswith(("quick", "slow")):
            return self.reply(404, b"", {})
        file = f"{name}-1.0-py3-none-any.whl"
        digest = hashlib.sha256(wheel(name)).hexdigest()
        return self.reply(
            200, f'<a href="/files/{file}#sha256={digest}">{file}</a>'.encode(), {"Content-Type": "text/html"}
        )

    def do_HEAD(self) -> None:
        self.reply(405, b"", {})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.02))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def real_uv() -> Path:
    return asyncio.run(find_uv())


@pytest.fixture
def calls(real_uv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a uv that writes down its arguments in this file before it works."""
    log = tmp_path / "calls"
    log.touch()
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec {real_uv} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return log


def builds(calls: Path) -> int:
    return sum(line.startswith("venv") for line in calls.read_text().splitlines())


def says(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


CLIENT = """
import asyncio, sys
from skyward._environment import ensure_environment
from skyward.model.image import Image
image = Image(pip=[sys.argv[1]], pip_extra_index_url=sys.argv[2])
print(asyncio.run(ensure_environment(image, report=lambda *what: print(what[1], flush=True))))
"""


def client(package: str, index: Index) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CLIENT, package, index.url], stdout=subprocess.PIPE, text=True)


def test_an_environment_holds_the_packages_and_is_built_once(calls: Path, index: Index) -> None:
    told: list[tuple[str, str, float | None]] = []
    image = Image(pip=["quicka"], pip_extra_index_url=index.url)

    def report(step: str, state: str, seconds: float | None) -> None:
        told.append((step, state, seconds))

    python = asyncio.run(ensure_environment(image, extra=["quickb"], report=report))
    code = "import quicka, quickb, sys; print(quickb.NAME, '%d.%d' % sys.version_info[:2], sys.prefix)"
    assert says(python, code) == f"quickb {client_python()} {python.parent.parent}"
    assert [entry[:2] for entry in told] == [("deps", "started"), ("deps", "completed")]
    assert told[0][2] is None
    assert isinstance(told[1][2], float)
    assert asyncio.run(ensure_environment(image, extra=["quickb"])) == python
    assert builds(calls) == 1


def test_the_clients_own_packages_are_not_in_it(calls: Path, index: Index) -> None:
    python = asyncio.run(ensure_environment(Image(pip=["quick"], pip_extra_index_url=index.url)))
    assert (
        says(python, "import pkgutil as p; print({m.name for m in p.iter_modules()} & {'pytest', 'skyward'})")
        == "set()"
    )


def test_pools_that_ask_at_once_share_one_build(calls: Path, index: Index) -> None:
    image = Image(pip=["quick"], pip_extra_index_url=index.url)

    async def ask() -> list[Path]:
        return await asyncio.gather(*(ensure_environment(image) for _ in range(4)))

    assert len(set(asyncio.run(ask()))) == 1
    assert builds(calls) == 1


def test_processes_that_ask_at_once_share_one_build(calls: Path, index: Index) -> None:
    first = client("slow", index)
    assert index.asked.wait(PATIENCE)
    second = client("slow", index)
    assert second.stdout is not None
    assert second.stdout.readline() == "started\n"
    index.gate.set()
    mine, theirs = first.communicate()[0].splitlines(), second.communicate()[0].splitlines()
    assert mine[-1] == theirs[-1]
    assert builds(calls) == 1
    assert says(Path(mine[-1]), "import slow; print(slow.NAME)") == "slow"


def test_a_builder_killed_in_the_middle_leaves_no_uv_and_nothing_half_built_is_used(calls: Path, index: Index) -> None:
    builder = client("slow", index)
    assert index.asked.wait(PATIENCE)
    started = below(builder.pid)
    assert any("uv" in name for name in asked(started, psutil.Process.name))
    builder.kill()
    builder.communicate()
    wait_for_end(started)
    index.gate.set()
    python = asyncio.run(ensure_environment(Image(pip=["slow"], pip_extra_index_url=index.url)))
    assert says(python, "import slow; print(slow.NAME)") == "slow"
    entry = python.parent.parent.parent
    assert sorted(path.name for path in entry.iterdir()) == sorted(["ready", python.parent.parent.name])
    assert builds(calls) == 2


def test_a_cancelled_build_ends_uv_at_once_and_leaves_nothing(calls: Path, index: Index) -> None:
    image = Image(pip=["slow"], pip_extra_index_url=index.url)

    async def cancel_in_the_middle() -> list[psutil.Process]:
        before = below(os.getpid())
        building = asyncio.create_task(ensure_environment(image))
        assert await asyncio.to_thread(index.asked.wait, PATIENCE)
        started = below(os.getpid(), before)
        assert any("uv" in name for name in asked(started, psutil.Process.name))
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        return started

    started = asyncio.run(cancel_in_the_middle())
    wait_for_end(started)
    (entry,) = [path for path in _cache.cache_folder("envs").iterdir() if path.is_dir()]
    assert list(entry.iterdir()) == []
    index.gate.set()
    assert asyncio.run(ensure_environment(image)).exists()


def test_waiting_for_another_builder_does_not_block_the_loop_and_can_be_cancelled(calls: Path, index: Index) -> None:
    image = Image(pip=["slow"], pip_extra_index_url=index.url)

    async def wait_and_give_up() -> None:
        builder = asyncio.create_task(ensure_environment(image))
        assert await asyncio.to_thread(index.asked.wait, PATIENCE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ensure_environment(image), 0.1)
        index.gate.set()
        await builder

    asyncio.run(wait_and_give_up())
    assert builds(calls) == 1


def test_a_package_that_does_not_exist_is_told_in_the_resolvers_words(calls: Path, index: Index) -> None:
    image = Image(pip=["quick", "no-such-thing"], env={"UV_DEFAULT_INDEX": index.url})
    with pytest.raises(BootstrapError) as caught:
        asyncio.run(ensure_environment(image))
    error = caught.value
    assert error.phase == "deps"
    assert "pip install" in error.command
    assert "no-such-thing was not found" in error.output
    assert error.output in str(error)
    assert "Image(pip=...)" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.phase, copy.command, copy.output) == (error.phase, error.command, error.output)
    assert not list(_cache.cache_folder("envs").glob("*/ready"))


def test_credentials_stand_neither_on_a_command_line_nor_in_the_error_nor_in_the_cache(
    calls: Path, index: Index, tmp_path: Path
) -> None:
    image = Image(pip=["slow"], pip_extra_index_url=index.url, env={"TOKEN": "hush-hush"})

    async def look_in_the_middle() -> list[str]:
        building = asyncio.create_task(ensure_environment(image))
        assert await asyncio.to_thread(index.asked.wait, PATIENCE)
        lines = asked(below(os.getpid()), lambda process: " ".join(process.cmdline()))
        index.gate.set()
        await building
        return lines

    lines = asyncio.run(look_in_the_middle())
    assert any("pip install" in line for line in lines)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and not path.is_symlink()]
    texts = [*lines, calls.read_text(), *(path.read_text(errors="replace") for path in files)]
    for secret in ("s3cr3t", USER, "hush-hush"):
        assert not any(secret in text for text in texts)


def test_what_uv_says_about_credentials_is_hidden_in_the_error(calls: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "uv"
    program.write_text(
        '#!/bin/sh\necho "GET http://me:s3cr3t@x/simple as $UV_INDEX_SKYWARD_PASSWORD with $TOKEN"; exit 3\n'
    )
    image = Image(pip=["six"], pip_extra_index_url="https://me:s3cr3t%40word@x/simple", env={"TOKEN": "hush-hush"})
    with pytest.raises(BootstrapError) as caught:
        asyncio.run(ensure_environment(image))
    assert caught.value.output == "GET http://***@x/simple as *** with ***"
    assert "status 3" in str(caught.value)
    for secret in ("s3cr3t", "hush"):
        assert secret not in repr(caught.value) + caught.value.command


def test_a_variable_in_a_requirement_is_filled_in_by_uv_alone(calls: Path, index: Index) -> None:
    place = f"127.0.0.1:{index.server_port}/files/quick-1.0-py3-none-any.whl"
    image = Image(pip=[f"quick @ http://{USER}:${{TOKEN}}@{place}"], env={"TOKEN": "s3cr3t%40word"})
    python = asyncio.run(ensure_environment(image))
    assert says(python, "import quick; print(quick.NAME)") == "quick"
    assert "s3cr3t" not in calls.read_text()


def test_another_version_than_the_clients_is_left_to_uv_to_find(calls: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "uv").write_text(f'#!/bin/sh\necho "$@" >>{calls}; exit 1\n')
    with pytest.raises(BootstrapError):
        asyncio.run(ensure_environment(Image(python="3.99", pip=["six"], allow_version_gap=True)))
    assert "--python 3.99 " in calls.read_text()
    with pytest.raises(BootstrapError):
        asyncio.run(ensure_environment(Image(pip=["six"])))
    assert f"--python {base_python()} " in calls.read_text()


def test_an_environment_whose_interpreter_is_gone_is_built_again(calls: Path, index: Index) -> None:
    image = Image(pip=["quick"], pip_extra_index_url=index.url)
    python = asyncio.run(ensure_environment(image))
    python.unlink()
    python.symlink_to("/nowhere/python")
    again = asyncio.run(ensure_environment(image))
    assert again != python
    assert says(again, "import quick; print(quick.NAME)") == "quick"


def test_settings_of_the_clients_own_environment_do_not_lead_uv_astray(
    calls: Path, index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("UV_SYSTEM_PYTHON", "1")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("UV_INDEX", "http://127.0.0.1:9/simple")
    python = asyncio.run(ensure_environment(Image(pip=["quick"], pip_extra_index_url=index.url)))
    monkeypatch.delenv("PYTHONHOME")
    assert says(python, "import quick; print(quick.NAME)") == "quick"
    assert not (tmp_path / "elsewhere").exists()


def test_environments_unused_for_a_month_are_removed_when_another_is_built_but_never_one_in_use(
    calls: Path, index: Index
) -> None:
    def build(package: str) -> Path:
        return asyncio.run(ensure_environment(Image(pip=[package], pip_extra_index_url=index.url)))

    envs = _cache.cache_folder("envs")
    old, used, young = envs / "old", build("quickused").parent.parent.parent, envs / "young"
    long_ago = used.stat().st_mtime - (_cache.KEEP_DAYS + 1) * 86400
    for folder in (old, young):
        folder.mkdir()
        (folder / "ready").write_text("x")
    for folder in (old, used):
        os.utime(folder, (long_ago, long_ago))
    build("quicknew")
    assert (old.exists(), used.exists(), young.exists()) == (False, True, True)
    assert not (envs / "old.lock").exists()
    assert not (envs / "old.use").exists()


def test_using_an_environment_keeps_it_young(calls: Path, index: Index) -> None:
    image = Image(pip=["quick"], pip_extra_index_url=index.url)
    entry = asyncio.run(ensure_environment(image)).parent.parent.parent
    os.utime(entry, (0, 0))
    asyncio.run(ensure_environment(image))
    assert _cache.is_fresh(entry)
