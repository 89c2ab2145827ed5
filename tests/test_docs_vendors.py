"""docs/vendors.md tells of each provider what it declares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skyward.spi import Provider
from skyward_aws import AWS
from skyward_container import Container
from skyward_digitalocean import DigitalOcean
from skyward_runpod import RunPod
from skyward_vastai import VastAI
from skyward_verda import Verda

PATH = Path(__file__).resolve().parent.parent / "docs"
PAGE = (PATH / "vendors.md").read_text(encoding="utf-8")
PROVIDERS: list[Provider] = [AWS(), Container(), DigitalOcean(), RunPod(), VastAI(), Verda()]


def row(section: str, name: str) -> list[str]:
    """The cells behind a provider's name in the table of a section."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    [found] = re.findall(rf"^\| `{name}` \| (.*) \|$", text, re.MULTILINE)
    return [cell.strip() for cell in found.split(" | ")]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda each: each.name)
def test_the_page_says_of_each_vendor_what_its_provider_declares(provider: Provider) -> None:
    can = provider.capabilities
    _, spot, ssh, reach = row("What each can do", provider.name)
    assert spot.startswith("yes") == can.spot
    assert ("with two minutes of notice" in spot) == can.preemption_notice
    assert ("port 22" not in ssh) == can.ports
    assert reach.startswith("yes") == can.private_network
    _, costs, removes = row("When your program is killed", provider.name)
    assert (costs == "nothing") == can.self_termination
    assert ("**`skyward reap`**" in removes) == (not can.self_termination)


@pytest.mark.parametrize("name", ["RunPod", "VastAI", "Verda", "DigitalOcean"])
def test_the_page_of_a_vendor_says_what_ends_machines_without_their_client_and_why_its_package_is_not_used(
    name: str,
) -> None:
    text = (PATH / f"{name.lower()}.md").read_text(encoding="utf-8")
    [provider] = (each for each in PROVIDERS if each.name == name)
    parts = re.split(r"^#+ ", text, flags=re.MULTILINE)
    [said] = [each for each in parts if "dead man's switch" in each and "`skyward reap" in each]
    if provider.capabilities.self_termination:
        assert re.search("(deletes|destroys) itself", said)
    else:
        assert "powers itself off" in said
        assert re.search(rf"^\*/\d+ .*skyward reap --provider {name}", said, re.MULTILINE)
    assert any(re.match("Why not .*Python package\n", each) for each in parts)


def test_the_page_has_every_provider_in_each_table() -> None:
    from skyward._plugins_kinds import FIRST_PARTY

    assert {each.name for each in PROVIDERS} == set(FIRST_PARTY)
