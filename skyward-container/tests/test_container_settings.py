"""What users write, and that it costs nothing to write it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from skyward.errors import ConfigurationError
from skyward_container import Container


def test_settings_are_values() -> None:
    settings = Container(image="debian:trixie", binary="podman")
    assert settings == Container(image="debian:trixie", binary="podman") != Container()
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, Container(), Container()}) == 2


@pytest.mark.parametrize("value", ["", " debian", "--privileged", 3])
@pytest.mark.parametrize("name", ["image", "binary"])
def test_what_cannot_be_a_name_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be the name"):
        Container(**{name: value})  # type: ignore[arg-type]


def test_the_entry_point_leads_to_the_provider() -> None:
    [found] = [each for each in entry_points(group="skyward") if each.module == "skyward_container.plugin"]
    [descriptor] = found.load().skyward_providers()
    assert (descriptor.name, descriptor.settings) == ("Container", Container)


def test_the_plugin_loads_nothing_that_is_slow() -> None:
    code = "import skyward_container.plugin, sys; print({'asyncssh', 'cryptography', 'asyncio'} & {*sys.modules})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"
