"""An image that names a package which does not exist: the error says so, and no machine is left."""

from __future__ import annotations

from typing import Any

import pytest

import skyward as sky
from skyward.errors import BootstrapError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "phase", "command", "words"),
    [
        ({"pip": ["no-such-package-of-ours"]}, "deps", "uv pip install", "no-such-package-of-ours was not found"),
        ({"apt": ["no-such-package"]}, "apt", "apt-get install", "Unable to locate package no-such-package"),
    ],
)
def test_the_error_has_the_phase_the_command_and_the_words_of_the_program_and_the_machine_is_gone(
    pool: Any, left: Any, wrong: Any, phase: str, command: str, words: str
) -> None:
    with pytest.raises(BootstrapError, match=words) as caught, pool(image=sky.Image(**wrong)):
        pass
    assert caught.value.phase == phase
    assert caught.value.command.startswith(command)
    assert words in caught.value.output
    assert left() == []
