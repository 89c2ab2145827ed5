"""A plugin that somebody else publishes: built, installed beside skyward-core in a new environment, and used."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_acme import TOKEN, FakeAcme
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.machines import FakeMachines
from fakes.yard import Yard

pytestmark = pytest.mark.slow

SEAM = Path(__file__).resolve().parent / "plugin_seam"

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(
    uv: str, wheels: dict[str, Path], clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The Python of an environment that holds the wheels of skyward-core and skyward-acme."""
    folder = tmp_path_factory.mktemp(f"seam-{uuid.uuid4().hex}-")  # as that of the wheels
    source, built = folder / "skyward-acme", folder / "dist"
    shutil.copytree(SEAM / "skyward-acme", source)  # away from the repository, which would take it for a part of itself
    python = folder / "venv" / "bin" / "python"
    base = Path(getattr(sys, "_base_executable", sys.executable))
    found = next(iter(wheels.values())).parent
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--find-links", str(found)]
    for command in (
        [uv, "build", "--quiet", "--wheel", "--python", str(base), "--out-dir", str(built), str(source)],
        [uv, "venv", "--quiet", "--python", str(base), str(python.parent.parent)],
        [*install, "--find-links", str(built), "skyward-acme"],
    ):
        done = subprocess.run(command, cwd=folder, env=clean_environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def run(python: Path, clean_environ: dict[str, str], tmp_path: Path) -> Run:
    """Runs a Python command line in that environment, in a folder of its own."""

    def start(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-W", "error", *arguments]
        environ = {**clean_environ, **variables}
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    return start


class Rented(FakeAcme):
    """Acme with containers for machines."""

    def __init__(self, machines: FakeMachines) -> None:
        self.real = machines
        super().__init__(machines.address)

    def new(self, order: dict[str, Any]) -> dict[str, Any]:
        machine = super().new(order)
        if "boot_script" in order:
            boot = {
                "ssh_keys": {"ed25519_private": order["host_key"]},
                "ssh_authorized_keys": [order["login_key"]],
                "disable_root": False,
                "bootcmd": [["sh", "-c", order["boot_script"]]],
            }
            data = f"#cloud-config\n{json.dumps(boot)}".encode()
            real = self.real.start(machine["id"], user_data=data, port=40022, ended=self.gone)
            machine |= {"address": real.host, "port": real.port}
        return machine

    def removed(self, machine: dict[str, Any]) -> None:
        self.real.end(machine["id"])

    def gone(self, name: str) -> None:
        with self.lock:
            if name in self.machines:
                self.end(name)


@pytest.fixture
def acme(vendor_yard: Yard) -> Iterator[Rented]:
    machines = FakeMachines("acme", vendor_yard)
    with contextlib.closing(Rented(machines)) as fake:
        yield fake
        assert not fake.existing()
        assert not machines.problems
        machines.clear()


@pytest.mark.containers
def test_everything_that_a_third_party_brings_works_from_installed_wheels(run: Run, acme: Rented) -> None:
    done = run(str(SEAM / "script.py"), SKYWARD_ACME_ENDPOINT=acme.endpoint, ACME_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert acme.made == 1 + 3  # one is a stranger's
    first, *_, last = done.stdout.splitlines()
    assert first == (
        "skyward-acme 1.2.3: providers Acme; selectors acme-nearest; allocations acme-thirds; integrations acme; "
        "hooks skyward_bootstrap_steps, skyward_image, skyward_on_event"
    )
    assert last == "done"
    assert done.stderr.count("Phase 'acme-oxygen' completed") == 3
    said = "bootstrap steps are not run, because local nodes are processes of this machine: 'acme-oxygen' of"
    assert done.stderr.count(said) == 1  # of the pool whose nodes are here


def test_nodes_with_packages_of_their_own_get_the_plugin_as_well(run: Run, uv: str, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        """
import skyward as sky

@sky.integrations.acme()
@sky.compute
def where() -> list[str]:
    import six, skyward_acme
    return [skyward_acme.__file__, sky.Acme.__name__, *(info.distribution for info in sky.installed_plugins())]

with sky.ComputePool(image=sky.Image(pip=["six==1.16.0"]), display="quiet") as pool:
    print(where() >> pool)
"""
    )
    path = os.pathsep.join([str(Path(uv).parent), os.environ["PATH"]])
    done = run(str(script), PATH=path)
    assert done.returncode == 0, done.stderr
    file, *names = ast.literal_eval(done.stdout)
    assert "payloads" in Path(file).parts
    assert names == ["Acme", "skyward-core", "skyward-acme"]


def test_both_ways_to_import_a_plugins_name_give_the_same(run: Run) -> None:
    done = run("-c", "import skyward as sky, skyward_acme; print(sky.Acme is skyward_acme.Acme, 'Acme' in dir(sky))")
    assert done.stdout == "True True\n", done.stderr


def test_importing_the_plugin_first_does_not_load_what_is_not_asked_for(run: Run) -> None:
    code = "import sys, skyward_acme; print('pluggy' in sys.modules, 'skyward._plugins_registry' in sys.modules)"
    done = run("-c", code)
    assert done.stdout == "False False\n", done.stderr


def test_turned_off_it_is_as_if_it_were_not_there_but_for_what_messages_say(run: Run) -> None:
    code = """if True:
        import skyward as sky
        for ask in (lambda: sky.Acme, lambda: sky.ComputePool(selection="acme-nearest")):
            try:
                ask()
            except (AttributeError, sky.ConfigurationError) as error:
                print(error)
        print(sky.installed_plugins()[1])
    """
    done = run("-c", code, SKYWARD_DISABLE_PLUGINS="skyward-acme")
    off = "SKYWARD_DISABLE_PLUGINS turns off skyward-acme 1.2.3"
    assert done.stdout.splitlines() == [
        f"sky.Acme does not exist: did you mean 'compute' or 'compose'?; {off}",
        f"selection='acme-nearest' does not exist: did you mean 'cheapest'?; {off}",
        "skyward-acme 1.2.3: PROBLEM: SKYWARD_DISABLE_PLUGINS turns it off",
    ], done.stderr
