"""Where uv comes from, and how its runs are told."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from pathlib import Path

import pytest

from skyward import _uv
from skyward._environment import ensure_environment
from skyward._supplying import together_with
from skyward._uv import find_uv, unreached
from skyward.errors import BootstrapError
from skyward.model.image import Image
from skyward.model.supplies import Supplies


@pytest.fixture
def no_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without uv; returns the Python that stands for its interpreter, which has to be written yet."""
    monkeypatch.setattr(_uv, "_installed", lambda: iter(()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    python = tmp_path / "python"
    monkeypatch.setattr(_uv, "base_python", lambda: str(python))
    monkeypatch.setattr(sys, "executable", str(python))
    return python


def test_without_uv_pip_puts_one_into_the_cache_once(no_uv: Path, tmp_path: Path) -> None:
    no_uv.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/pips\nwhile [ "$1" != --target ]; do shift; done\n'
        'mkdir "$2/bin"; touch "$2/bin/uv"\n'
    )
    no_uv.chmod(0o755)

    async def find_twice() -> list[Path]:
        return [*await asyncio.gather(find_uv(), find_uv()), await find_uv()]

    assert set(asyncio.run(find_twice())) == {tmp_path / "cache" / "skyward" / "uv" / "current" / "bin" / "uv"}
    assert len((tmp_path / "pips").read_text().splitlines()) == 1


def test_without_uv_and_pip_the_error_says_how_to_get_it(no_uv: Path, tmp_path: Path) -> None:
    no_uv.write_text("#!/bin/sh\necho No module named pip; exit 1\n")
    no_uv.chmod(0o755)
    with pytest.raises(BootstrapError, match="pip install uv") as caught:
        asyncio.run(find_uv())
    assert caught.value.phase == "uv"
    assert "No module named pip" in caught.value.output
    assert [path for path in (tmp_path / "cache" / "skyward" / "uv").iterdir() if path.is_dir()] == []


def test_uv_is_found_on_path_and_beside_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(find_uv()) == program
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    assert asyncio.run(find_uv()) == program


FAILED = """
error: Failed to fetch: {url}torch/
  cause: error sending request for url ({url}torch/)
  cause: client error (Connect)
  cause: dns error
"""
OLDER = """
error: Failed to fetch: `{url}torch/`
  Caused by: Could not connect, are you offline?
  Caused by: Request failed after 3 retries
  Caused by: error sending request for url ({url}torch/)
"""
TORCH = "https://download.pytorch.org/whl/cpu/"
OURS = "https://pip.example.org:8443/simple/"


@pytest.mark.parametrize("words", [FAILED, OLDER], ids=["now", "before"])
@pytest.mark.parametrize(
    ("url", "variables", "said"),
    [
        (TORCH, {"UV_TORCH_BACKEND": "cpu"}, "download.pytorch.org did not answer, where UV_TORCH_BACKEND has uv look"),
        (TORCH, {"UV_TORCH_BACKEND": "cpu"}, "by its wheels="),
        (TORCH, {"UV_INDEX": f"torch={TORCH[:-1]}"}, "where Image(pip_extra_index_url=...) and UV_INDEX have uv look"),
        (OURS, {"UV_DEFAULT_INDEX": OURS, "UV_TORCH_BACKEND": "auto"}, ":8443 did not answer, where UV_DEFAULT_INDEX "),
        (OURS, {"UV_EXTRA_INDEX_URL": f"https://me:pw@{OURS[8:]}"}, "where UV_EXTRA_INDEX_URL has uv look"),
        (
            "https://pypi.org/simple/",
            {"UV_INDEX": OURS},
            "pypi.org did not answer: let the machine reach it, or name a",
        ),
    ],
)
def test_a_host_that_does_not_answer_is_told_with_what_has_chosen_it(
    words: str, url: str, variables: dict[str, str], said: str
) -> None:
    told = unreached(words.format(url=url), variables)
    assert said in told
    assert "pw" not in told


@pytest.mark.parametrize(
    "words",
    [
        "error: No solution found when resolving dependencies: torch was not found in the package registry",
        f"error: Failed to fetch: {TORCH}\n cause: HTTP status client error (403 Forbidden) for url ({TORCH})",
        f"error sending request for url ({TORCH})\n cause: invalid peer certificate: UnknownIssuer",
        "",
    ],
)
def test_a_failure_of_another_kind_is_no_matter_of_what_can_be_reached(words: str) -> None:
    assert unreached(words, {"UV_TORCH_BACKEND": "cpu"}) == ""


def test_what_integrations_and_the_image_say_reaches_uv_and_the_error_names_the_index_that_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").write_text(FAILED.format(url=TORCH))
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nenv >{tmp_path}/given\ncat {tmp_path}/words\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    supplies = Supplies(pip=["torch"], env={"UV_TORCH_BACKEND": "cpu", "UV_EXCLUDE_NEWER": "2026-01-01"})
    image = together_with(Image(env={"UV_EXCLUDE_NEWER": "2026-02-02"}), [("acme", supplies)])
    with pytest.raises(BootstrapError, match="where UV_TORCH_BACKEND has uv look") as said:
        asyncio.run(ensure_environment(image))
    assert "download.pytorch.org did not answer" in str(said.value)
    assert "Check the names" not in str(said.value)
    given = (tmp_path / "given").read_text().splitlines()
    assert {"UV_TORCH_BACKEND=cpu", "UV_EXCLUDE_NEWER=2026-02-02"} <= set(given)
