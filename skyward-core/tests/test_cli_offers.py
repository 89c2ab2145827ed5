"""``skyward offers`` where nothing meets the request: it says why, and what to ask for instead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from road_fakes import Hang, on_demand, spot

pytestmark = pytest.mark.usefixtures("own_ledgers")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            ["--accelerator", "H100"],
            [
                "Acme: nothing that meets the request, with fewer wishes up to 16 CPUs, up to 64 GB, T4",
                "or for another accel",
            ],
        ),
        (["--cpu", "64"], ["with fewer wishes up to 16 CPUs", "nothing is on offer: ask for less"]),
        (["--machine", "bigg"], ["types big or small", "nothing is on offer: ask for less"]),
        (
            ["--machine", "big", "--market", "spot"],
            ["nothing is on offer as spot: leave out --market for 1 other offer"],
        ),
        (
            ["--nodes", "4", "--max-hourly-cost", "0.75"],
            ["nothing is on offer for that money, of 2 offer(s) the cheapest costs $1.00 an hour: raise --max-hourly-"],
        ),
    ],
)
def test_the_reason_and_the_remedy_are_told(clouds: Any, command: Any, line: list[str], says: list[str]) -> None:
    offers = [
        on_demand(kind="big", price=2.0, vcpu=16, memory_gb=64, accelerator="T4"),
        spot(kind="small", price=0.25, vcpu=2, memory_gb=4),
    ]
    (cloud,) = clouds("Acme", left=False, offers=offers)
    status, out, err = command("offers", "--provider", "Acme", *line)
    assert (status, err, cloud.open_sessions) == (1, "", 0)
    assert all(part in out for part in says), out
    told = json.loads(command("offers", "--provider", "Acme", "--json", *line)[1])
    assert (told["offers"], told["asked"]) == ([], ["Acme"])


def test_what_has_no_price_is_not_offered_for_little_money(clouds: Any, command: Any) -> None:
    clouds("Acme", left=False, offers=[on_demand(kind="secret", price=None)])
    out = command("offers", "--provider", "Acme", "--max-hourly-cost", "5")[1]
    assert out == "nothing is on offer for that money, of 1 offer(s) none has a price: raise --max-hourly-cost\n"


@pytest.mark.parametrize(("line", "method"), [("offers", "open"), ("offers", "offers"), ("ps", "list_owned")])
def test_one_that_does_not_answer_costs_its_own_time_out_and_the_others_are_told(
    clouds: Any, command: Any, line: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyward._market.ANSWER_LIMIT", 1.0)
    (slow,) = clouds("Slow", left=False, script={method: [Hang] * 9})
    clouds("Acme", left=line == "ps")
    status, out, _ = command(line, "--json")
    told = json.loads(out)
    assert (status, sorted(told["asked"])) == (0, ["Acme", "Local"])
    assert told["notes"] == [f"Slow: Slow did not answer to {method} within 1 s"]
    assert "Acme" in {each["provider"] for each in told["offers" if line == "offers" else "machines"]}
    assert (len(slow.called(method)), slow.open_sessions) == (1, 0)
