"""What an environment of the nodes depends on: where that is the same, it is built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyward import Image
from skyward._environment import environment_key


def test_the_key_depends_on_what_is_installed_and_on_uvs_settings_but_on_no_secret() -> None:
    image = Image(pip=["six"])
    keys = [
        environment_key(image, (), {}),
        environment_key(Image(pip=["attrs"]), (), {}),
        environment_key(image, ("psutil",), {}),
        environment_key(image, (), {"UV_INDEX": "https://a:b@x/simple"}),
        environment_key(image, (), {"UV_EXCLUDE_NEWER": "2026-01-01"}),
    ]
    assert len(set(keys)) == len(keys)
    assert environment_key(image, (), {"UV_INDEX": "https://c:d@x/simple"}) == keys[3]
    assert environment_key(image, (), {"TERM": "dumb"}) == keys[0]


@pytest.mark.parametrize("name", ["UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT"])
def test_an_environment_depends_on_what_stands_in_the_files_that_uv_is_given(name: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("attrs<26")
    variables = {name: f"{one} {other}"}
    keys = [environment_key(Image(), (), variables)]  # the other one is missing: uv will say so
    other.write_text("psutil<7")
    keys.append(environment_key(Image(), (), variables))
    one.write_text("attrs<25")
    keys.append(environment_key(Image(), (), variables))
    assert len(set(keys)) == 3
    assert environment_key(Image(), (), variables) == keys[2]
