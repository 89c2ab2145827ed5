"""``skyward offers``, ``ps`` and ``doctor``: what they find, how they tell it, and what they say fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from command_clouds import PLUGIN
from plugin_fakes import Install
from road_fakes import FakeProvider, Hang, on_demand, spot

import skyward as sky
from skyward.errors import AuthenticationFailed, ConfigurationError, QuotaExceeded, Transient, Unavailable
from skyward.spi import Capabilities, Finding

pytestmark = pytest.mark.usefixtures("own_ledgers")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts; nothing changes meanwhile."""

    async def at_once(_: float) -> None: ...

    monkeypatch.setattr("skyward._asking.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": at_once}))


def rows(out: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line.split() for line in out.splitlines()]
    return [line for line in lines[1:] if line and line[0] in ("Acme", "Other", "Local")]


# offers


def test_offers_of_all_providers_are_compared_by_price(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, offers=[on_demand(kind="big", price=3.0), spot(kind="big", price=0.5)])
    clouds("Other", left=False, offers=[on_demand(kind="huge", price=None), on_demand(kind="mid", price=1.25)])
    status, out, err = command("offers", "--nodes", "4")
    assert (status, err) == (0, "")
    assert [(row[0], row[1], row[3], row[-2], row[-1]) for row in rows(out)] == [
        ("Local", "process", "on-demand", "$0.00", "$0.00"),
        ("Acme", "big", "spot", "$0.50", "$2.00"),
        ("Other", "mid", "on-demand", "$1.25", "$5.00"),
        ("Acme", "big", "on-demand", "$3.00", "$12.00"),
        ("Other", "huge", "on-demand", "?", "?"),
    ]
    assert out.splitlines()[0].split() == [
        *("PROVIDER", "MACHINE", "REGION", "MARKET", "VCPU", "MEMORY", "ACCELERATOR", "EACH/H", "ALL/H", "LEFT")
    ]
    assert out.splitlines()[-1] == "5 offer(s) for 4 node(s)"


def test_only_what_meets_the_request_is_shown(clouds: Any, command: Any) -> None:
    fitting = on_demand(kind="gpu", price=9.0, accelerator="A100:8", vcpu=96, memory_gb=1152)
    small = on_demand(kind="gpu-small", price=1.0, accelerator="A100", vcpu=8, memory_gb=64)
    (cloud,) = clouds("Acme", left=False, offers=[small, fitting, spot(kind="gpu", price=3.0, accelerator="A100:8")])
    status, out, _ = command("offers", "--accelerator", "a100:8", "--cpu", "90", "--memory", "1TB")
    assert (status, [row[1:4] for row in rows(out)]) == (0, [["gpu", "here-1", "spot"], ["gpu", "here-1", "on-demand"]])
    assert "8 x A100" in out
    assert [row[3] for row in rows(command("offers", "--accelerator", "A100:8", "--market", "spot")[1])] == ["spot"]
    (spec,) = cloud.called("offers")[:1]
    assert (spec.cpu, spec.memory_gb, spec.accelerator.count) == (90, 1000.0, 8)


def test_what_is_too_dear_or_sold_out_is_told(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, offers=[on_demand(kind="dear", price=3.0), on_demand(kind="few", price=1.0, capacity=1)])
    status, out, _ = command("offers", "--provider", "Acme", "--nodes", "2", "--max-hourly-cost", "4")
    assert status == 0
    assert [(row[1], row[-1]) for row in rows(out)] == [("few", "1")]
    assert out.splitlines()[-1].endswith("; 1 more cost more than --max-hourly-cost allows, or have no price")
    many = command("offers", "--provider", "Acme", "--nodes", "2")[1]
    assert [row[1] for row in rows(many)] == ["dear", "few"], "what has too little stands last"
    assert (
        "2 offer(s) for 2 node(s), 1 of them not shown"
        in command("offers", "--provider", "Acme", "--nodes", "2", "--limit", "1")[1]
    )


def test_nothing_on_offer_has_a_status_of_its_own(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, script={"open": [AuthenticationFailed("no key: set ACME_KEY")] * 9})
    status, out, err = command("offers", "--accelerator", "H100", "--provider", "Acme")
    assert (status, err) == (1, "")
    assert out == "not asked: Acme: no key: set ACME_KEY\nnobody could be asked: see `skyward doctor`\n"
    assert command("offers", "--machine", "no-such")[0] == 1


def test_the_json_of_offers_has_its_documented_shape(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, offers=[spot(kind="gpu", price=0.1, accelerator="A100:2", billing_minimum=60)])
    status, out, _ = command("offers", "--json", "--nodes", "3", "--provider", "Acme")
    assert (status, json.loads(out)) == (
        0,
        {
            "version": 1,
            "nodes": 3,
            "asked": ["Acme"],
            "offers": [
                {
                    "provider": "Acme",
                    "machine": "gpu",
                    "region": "here-1",
                    "market": "spot",
                    "price": 0.1,
                    "price_together": 0.3,
                    "on_demand_price": 1.0,
                    "billing_quantum": 1.0,
                    "billing_minimum": 60,
                    "vcpu": None,
                    "memory_gb": None,
                    "accelerator": "A100",
                    "accelerator_count": 2,
                    "capacity": None,
                }
            ],
            "left_out": 0,
            "notes": [],
            "interrupted": False,
        },
    )


def test_nothing_is_bought_and_every_session_is_closed(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme", left=False)
    for line in (["offers"], ["ps"], ["doctor"]):
        command(*line)
        assert (cloud.machines, cloud.open_sessions) == ([], 0)


@pytest.mark.parametrize("line", ["offers", "ps", "doctor"])
def test_an_interrupt_ends_it_at_once(clouds: Any, command: Any, line: str) -> None:
    (cloud,) = clouds("Acme", left=False)

    async def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    cloud.script("open", interrupt, Hang)
    status, out, _ = command(line, "--json")
    assert (status, json.loads(out)["interrupted"]) == (130, True)


# ps


def test_machines_of_all_pools_are_listed(clouds: Any, command: Any) -> None:
    (mine,) = clouds("Acme", left=False)
    clouds("Other")
    with mine, sky.ComputePool(mine.provider, nodes=2, display="quiet", budget=5, timeout=None) as pool:
        status, out, err = command("ps")
        assert (status, err) == (0, "")
        pool_id = mine.alive[0].pool_id
        assert [(row[0], row[1], row[2], row[3], row[5], row[6], row[-1]) for row in rows(out)] == [
            ("Acme", "i-0", pool_id, "0", "running", "runs", "$0.25"),
            ("Acme", "i-1", pool_id, "1", "running", "runs", "$0.25"),
            ("Other", "i-0", rows(out)[2][2], "0", "running", "gone", "$0.25"),
        ]
        assert "(in " in out
        assert out.splitlines()[-1] == "3 machine(s), $0.75 an hour"
        only = json.loads(command("ps", "--json", "--pool", pool_id)[1])["machines"]
        assert [(each["node"], each["client_alive"], each["price"]) for each in only] == [
            (0, True, 0.25),
            (1, True, 0.25),
        ]
        assert pool.is_active


def test_without_a_ledger_the_price_and_perhaps_the_client_are_not_known(clouds: Any, command: Any) -> None:
    (cloud,) = clouds("Acme", ledger=False)
    (machine,) = json.loads(command("ps", "--json")[1])["machines"]
    assert machine == {
        "provider": "Acme",
        "id": "i-0",
        "pool": cloud.alive[0].pool_id,
        "node": 0,
        "owner": cloud.alive[0].owner,
        "state": "running",
        "client_alive": False,
        "deadline": cloud.alive[0].deadline,
        "price": None,
        "ip": machine["ip"],
    }
    assert command("ps")[1].splitlines()[-1] == "1 machine(s)"


def test_a_provider_that_does_not_answer_is_a_problem_where_it_matters(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, script={"list_owned": [Unavailable("no API today")] * 99})
    assert command("ps")[:2] == (0, "not asked: Acme: no API today\nno machine runs\n")
    status, out, err = command("ps", "--provider", "acme")
    assert (status, out, err) == (1, "no machine is known to run\n", "skyward ps: Acme: no API today\n")


# doctor


class Telling:
    """Settings that tell of themselves what a test has them tell."""

    name = "Acme"
    capabilities = Capabilities()

    def __init__(self, cloud: FakeProvider, answer: Any) -> None:
        self.cloud = cloud
        self.answer = answer

    async def open(self, identity: Any, /) -> Any:
        return await self.cloud.provider.open(identity)

    async def check(self) -> Sequence[Finding]:
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Sequence[Finding] = self.answer
        return answer


@pytest.fixture
def telling(install: Install, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(answer: Any, **options: Any) -> None:
        settings = Telling(FakeProvider("Acme", **options), answer)
        monkeypatch.setitem(sys.modules, "clouds_under_test", SimpleNamespace(made={"Acme": lambda: settings}))
        install("acme-clouds", PLUGIN)

    return make


def test_all_is_well_where_all_is(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False)
    status, out, err = command("doctor")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "all is well"
    assert "Acme\n  ok       session: opens\n  ok       machines: 0 of pools" in out
    assert "  ok       offers: 2, from $0.25 an hour\n" in out
    assert out.startswith("skyward\n  ok       version: ")


def test_a_program_that_is_gone_is_a_warning(clouds: Any, command: Any) -> None:
    clouds("Acme")
    status, out, _ = command("doctor")
    assert (status, "warning  left over: 1 program(s)" in out, "`skyward reap`" in out) == (0, True, True)
    assert out.endswith("0 problem(s), 1 warning(s)\n")


@pytest.mark.parametrize(
    ("method", "error", "says"),
    [
        (
            "open",
            AuthenticationFailed("the key is refused: set ACME_KEY"),
            ["credentials: the key is refused", "set ACM"],
        ),
        (
            "list_owned",
            Unavailable("not allowed to list; ask for acme:List"),
            ["machines: not allowed", "ask for acme"],
        ),
        ("offers", Transient("busy"), ["offers: busy", "try again later"]),
        (
            "offers",
            QuotaExceeded("0 GPUs", quota="gpus", url="https://acme.example/quotas"),
            ["quota: over quota (gpus): 0 GPUs", "have it raised at https://acme.example/quotas"],
        ),
        ("offers", KeyError("price"), ["offers: Acme failed in offers with KeyError: 'price'", "please report it"]),
    ],
)
def test_what_fails_is_a_problem_with_its_remedy(
    clouds: Any, command: Any, method: str, error: Exception, says: list[str]
) -> None:
    clouds("Acme", left=False, script={method: [error] * 99})
    status, out, _ = command("doctor", "--provider", "Acme")
    problem, remedy = says
    assert status == 1
    assert f"  problem  {problem}" in out
    assert f"           -> {remedy}" in out


def test_findings_of_the_provider_itself_come_first_and_secrets_are_hidden(telling: Any, command: Any) -> None:
    telling(
        [
            Finding(subject="credentials", detail="account 1234"),
            Finding(
                subject="plugin", level="warning", detail="not found", remedy="get https://me:hunter22@acme.example"
            ),
            Finding(subject="permission acme:Create", level="problem", detail="denied", remedy="attach the policy"),
        ]
    )
    status, out, _ = command("doctor", "--provider", "Acme")
    assert status == 1
    assert out.splitlines()[:7] == [
        "Acme",
        "  ok       credentials: account 1234",
        "  warning  plugin: not found",
        "           -> get https://***@acme.example",
        "  problem  permission acme:Create: denied",
        "           -> attach the policy",
        "  ok       session: opens",
    ]
    told = json.loads(command("doctor", "--provider", "Acme", "--json")[1])
    assert (told["version"], told["problems"], told["interrupted"]) == (1, 1, False)
    assert told["examined"][0]["name"] == "Acme"
    assert told["examined"][0]["findings"][0] == {
        "subject": "credentials",
        "level": "ok",
        "detail": "account 1234",
        "remedy": "",
    }


def test_what_a_check_says_is_wrong_is_not_said_again(telling: Any, command: Any) -> None:
    refused = AuthenticationFailed("the key is refused: set ACME_KEY")
    telling(refused, script={"open": [refused] * 9})
    out = command("doctor", "--provider", "Acme")[1]
    assert out.count("the key is refused") == 1


@pytest.mark.parametrize("answer", [KeyError("arn"), None, ["all is well"]])
def test_a_check_that_breaks_its_contract_is_a_bug_of_the_plugin(telling: Any, command: Any, answer: Any) -> None:
    telling(answer)
    status, out, _ = command("doctor", "--provider", "Acme")
    assert (status, "  problem  check: Acme failed in check with " in out) == (1, True)
    assert "please report it there" in out


def test_a_plugin_that_cannot_be_loaded_is_a_problem(install: Install, command: Any) -> None:
    install("acme-clouds", "import no_such_module_anywhere")
    status, out, _ = command("doctor")
    assert status == 1
    assert "acme-clouds\n  problem  plugin: " in out
    assert "-> update or remove acme-clouds" in out


def test_a_variable_that_makes_no_sense_is_no_fault_of_the_plugin(
    clouds: Any, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made() -> None:
        raise ConfigurationError("endpoint must be an address, not 'acme': write for example 'https://acme.test'")

    clouds("Acme", left=False)
    monkeypatch.setattr("skyward._plugins.provider", lambda _: made)
    status, out, _ = command("doctor", "--provider", "Acme")
    assert status == 1
    assert "  problem  settings: it has no settings by default (endpoint must be an address, not 'acme'" in out
    assert "-> correct what Acme takes from the environment" in out


def test_a_state_folder_that_cannot_be_written_is_a_problem(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    monkeypatch.setattr("os.access", lambda *_: False)  # the tests may be run by root, to whom all is open
    status, out, _ = command("doctor")
    assert (status, "-> set XDG_STATE_HOME to a folder that you may write to" in out) == (1, True)
