"""The command ``skyward``: what it refuses, what it tells, and how it does as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from command_line import ledgers

from skyward import _cli

pytestmark = pytest.mark.usefixtures("own_ledgers")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["reep"], "skyward: there is no command 'reep': did you mean 'reap'?"),
        (["--vresion"], "skyward: there is no option '--vresion': did you mean '--version'?"),
        (["reap", "--dryrun"], "skyward reap: there is no option '--dryrun': did you mean '--dry-run'?"),
        (["reap", "--dry"], "skyward reap: there is no option '--dry': did you mean '--dry-run'?"),
        (["reap", "all"], "skyward reap: there is no argument 'all'; see `skyward reap --help`"),
        (["reap", "--provider", "Lokal"], "skyward reap: there is no provider 'Lokal': did you mean 'Local'?"),
        (["reap", "--provider", "runpot"], "skyward reap: there is no provider 'runpot': did you mean 'RunPod'?"),
        (["reap", "--provider", "runpod"], "skyward reap: sky.RunPod is provided by skyward-runpod, which "),
        (["offers", "--acelerator", "A100"], "skyward offers: there is no option '--acelerator': did you mean '--acc"),
        (["offers", "--accelerator", "A10O"], "skyward offers: unknown accelerator 'A10O'; did you mean 'A10' or "),
        (["offers", "--memory", "much"], "skyward offers: 'much' is not an amount of memory"),
        (["offers", "--nodes", "0"], "skyward offers: --nodes is '0'; give a whole number from 1"),
        (["offers", "--cpu", "-1"], "skyward offers: --cpu is '-1'; give a whole number from 1"),
        (["offers", "--market", "spots"], "skyward offers: --market is 'spots': did you mean 'spot'?"),
        (["offers", "--max-hourly-cost", "0"], "skyward offers: --max-hourly-cost is '0'; give a positive number of "),
        (["doctor", "--provider", "Lokal"], "skyward doctor: there is no provider 'Lokal': did you mean 'Local'?"),
        (["doctr"], "skyward: there is no command 'doctr': did you mean 'doctor'?"),
        (["ps", "--pol"], "skyward ps: there is no option '--pol': did you mean '--pool'"),
        (["reap", "--provider"], "skyward reap: argument --provider: expected one argument; see `skyward reap --help`"),
    ],
)
def test_a_wrong_command_line_is_refused_with_near_matches(command: Any, line: list[str], says: str) -> None:
    status, out, err = command(*line)
    assert (status, out) == (2, "")
    assert err.startswith(says)
    assert err.count("\n") == 1


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"], ["help"]])
def test_alone_it_tells_what_there_is(command: Any, line: list[str]) -> None:
    status, out, err = command(*line)
    assert (status, err) == (0, "")
    for name, what in _cli.COMMANDS.items():
        assert f"  {name:6}  {what}" in out


def test_the_version_is_that_of_the_distribution(command: Any) -> None:
    from importlib.metadata import version

    assert command("--version") == (0, f"skyward {version('skyward-core')}\n", "")


def test_help_of_a_command_tells_its_options_and_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _cli.main(["reap", "--help"])
    assert not ended.value.code
    out = capsys.readouterr().out
    assert all(word in out for word in ("--dry-run", "--json", "--provider NAME", "exit status:", "  130 "))


# as a program


def test_a_reader_that_goes_away_stops_nothing() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "skyward", "reap", "--dry-run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    with program.stderr:
        assert program.stderr.read() == ""
    assert program.wait(60) in (0, 1)  # others may have left something on this machine


CLIENT = """
import signal
import skyward as sky

with sky.ComputePool(nodes=2, lease=600, display="quiet"):
    print("in", flush=True)
    signal.pause()
"""


REMOVE = """
import sys
from skyward import _cli, _local_processes

everything = _local_processes._environments
_local_processes._environments = lambda: (each for each in everything() if each[1]["SKYWARD_POOL"] == sys.argv[1])
sys.exit(_cli.main(["reap", "--json", "--provider", "Local"]))
"""
"""The command, in whose eyes there is no other pool on this machine."""


def test_local_nodes_of_a_killed_client_are_found_and_ended(tmp_path: Any) -> None:
    client = subprocess.Popen(
        [
            sys.executable,
            "-c",
            CLIENT,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    with client.stdout:
        assert client.stdout.readline() == "in\n"

    def told(*command: str) -> dict[str, Any]:
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    (pool,) = (name.removesuffix(".jsonl") for name in ledgers())

    def mine() -> list[Any]:
        machines = told("-m", "skyward", "reap", "--dry-run", "--json", "--provider", "Local")["machines"]
        return [machine for machine in machines if machine["pool"] == pool]

    assert mine() == []
    client.kill()
    client.wait()
    found = mine()
    assert len(found) == 2
    assert {machine["why"] for machine in found} == {"its client has died"}
    answer = told("-c", REMOVE, pool)
    assert {machine["id"] for machine in answer["removed"]} == {machine["id"] for machine in found}
    assert (answer["problems"], ledgers()) == ([], [])
    assert mine() == []
