"""A test gets a vendor of its own, and hears of it when the fake went wrong or something of strangers was touched."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import override

import pytest
import rig
from fakes import VendorServer
from fakes.fixtures import lent
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.machines import FakeMachines
from fakes.yard import Yard

HERE = Path(__file__).parent


class Fake(VendorServer):
    """A vendor with one stranger."""

    def __init__(self, machines: FakeMachines) -> None:
        self.machines = machines
        self.others = ["a stranger's machine"]
        self.lending: Iterator[Fake] = iter(())
        super().__init__(machines.address)

    @property
    @override
    def environment(self) -> dict[str, str]:
        return {"ACME_TOKEN": "secret", "SKYWARD_ACME_ENDPOINT": self.endpoint}

    @override
    def strangers(self) -> object:
        return list(self.others)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """What a test gets of it; the test ends it."""
    module = ModuleType("fakes.acme")
    module.Fake = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fakes.acme", module)
    monkeypatch.setenv("ACME_PROFILE", "the developer's own")
    monkeypatch.setenv("SKYWARD_ACME_REGION", "elsewhere")
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.delenv("no_proxy", raising=False)
    lending = lent("acme", None, monkeypatch)
    fake: Fake = next(lending)
    fake.lending = lending
    yield fake
    with contextlib.suppress(AssertionError):
        end(fake)


def end(fake: Fake) -> None:
    """The end of the test that a vendor was lent to."""
    with contextlib.suppress(StopIteration):
        next(fake.lending)


def test_the_environment_leads_to_the_vendor_and_has_nothing_else_of_its(acme: Fake) -> None:
    assert (os.environ["ACME_TOKEN"], os.environ["SKYWARD_ACME_ENDPOINT"]) == ("secret", acme.endpoint)
    assert "ACME_PROFILE" not in os.environ
    assert "SKYWARD_ACME_REGION" not in os.environ
    assert os.environ["NO_PROXY"] == "example.org,127.0.0.1"
    state = Path(os.environ["XDG_STATE_HOME"])
    assert state.is_dir(), "the user's own is not for pools of tests"
    acme.machines.start("1")
    end(acme)
    assert not [*acme.machines], "they are removed"
    assert not state.exists()


def test_what_strangers_have_must_be_as_it_was(acme: Fake) -> None:
    acme.others.clear()
    with pytest.raises(AssertionError, match="strangers"):
        end(acme)


def test_a_fake_that_failed_is_told_of(acme: Fake) -> None:
    acme.problems.append("GET /things: 200: $.name: it has none")
    with pytest.raises(AssertionError, match="not meant to do"):
        end(acme)


def test_pretended_machines_have_addresses_where_nobody_listens_and_end_as_others_do() -> None:
    machines, told = FakeMachines("test"), list[str]()
    assert (machines.address, machines.real) == ("127.0.0.1", False)
    one = machines.start("1", port=40022, ended=told.append, onstart="", env={"A": "b"})
    other = machines.start("2", port=40022, ended=told.append)
    assert (one.host, one.port) != (other.host, other.port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((one.host, one.port))
    machines.end("2")
    machines.kill("1")
    machines.kill("1")
    assert told == ["1"]
    assert (one.env, list(machines), one.over) == ({"A": "b"}, ["1", "2"], True)


KILLED = """
import sys
from fakes.machines import FakeMachines
from fakes.yard import Yard
machines = FakeMachines("killed", Yard())
machine = machines.start("1")
machine.sh("true")
print(machine._machine.name, machine._machine.folder, flush=True)
sys.stdin.read()
"""


@pytest.mark.containers
def test_the_machines_of_tests_that_are_killed_are_removed(vendor_yard: Yard) -> None:
    paths = os.pathsep.join([str(HERE), str(Path(rig.__file__).parents[1]), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
    )
    assert process.stdout is not None
    container, folder = process.stdout.readline().split()
    assert not subprocess.run(("podman", "container", "exists", container)).returncode
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)  # whoever removes them has its output, too
    assert subprocess.run(("podman", "container", "exists", container)).returncode == 1
    assert not Path(folder).parent.exists()
