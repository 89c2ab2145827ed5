"""What is made of the script's lines when it fails."""

from __future__ import annotations

import time

import pytest

from skyward._ssh.progress import Said
from skyward.model.image import Image

TLS = "curl: (60) SSL certificate problem: certificate is not yet valid"


def failed(complaint: str, ahead: float) -> str:
    said = Said(Image(), lambda *_: None)
    for line in (
        "::skyward:: uv started ",
        complaint,
        f"::skyward:: uv clock {time.time() + ahead:.0f}",
        "::skyward:: uv failed curl https://pypi.org/simple/uv/",
    ):
        said.line(line)
    error = said.failure("node 0", 60)
    assert (error.phase, error.command) == ("uv", "curl https://pypi.org/simple/uv/")
    assert error.output == complaint
    return str(error)


@pytest.mark.parametrize(("ahead", "words"), [(-864_000, "240.0 hours behind"), (7200, "2.0 hours ahead of")])
@pytest.mark.parametrize("complaint", [TLS, "E: Release file for http://deb.debian.org/x is not valid yet"])
def test_a_clock_that_is_wrong_is_named_where_certificates_are_complained_of(
    ahead: float, words: str, complaint: str
) -> None:
    assert f"Its clock is {words} this one" in failed(complaint, ahead)


@pytest.mark.parametrize(("complaint", "ahead"), [(TLS, 100), ("no space left on device", 864_000)])
def test_a_clock_is_not_blamed_for_anything_else(complaint: str, ahead: float) -> None:
    assert "clock" not in failed(complaint, ahead)


def test_an_index_that_does_not_answer_is_named_with_the_setting_that_leads_there() -> None:
    said = Said(Image(pip=["torch"], env={"UV_TORCH_BACKEND": "cpu"}), lambda *_: None)
    for line in (
        "::skyward:: deps started ",
        "error: Failed to fetch: https://download.pytorch.org/whl/cpu/torch/",
        "  cause: dns error",
        "::skyward:: deps failed uv pip install --python venv/bin/python",
    ):
        said.line(line)
    assert "download.pytorch.org did not answer, where UV_TORCH_BACKEND has uv look" in str(said.failure("node 0", 2))
