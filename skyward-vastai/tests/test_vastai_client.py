"""The vendor's own client goes the same way through the tests' Vast.ai, so that this one cannot bend to suit us."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fakes.vastai import VastAIServer

from skyward._uv import base_python, find_uv

RELEASE = "vastai==1.9.1"
FLOW = r"""
import json, sys
from vastai.sdk import VastAI

client = VastAI(server_url=sys.argv[1], retry=1)
query = "gpu_name=RTX_4090 num_gpus=1 reliability>0.9 direct_port_count>0 geolocation in [SE,NO]"
dear = client.search_offers(query, order="dph_total", limit=3, storage=32)
cheap = client.search_offers({"gpu_name": {"eq": "RTX 4090"}}, type="bid", order="min_bid", limit=50, storage=32)
offers = [each["id"] for each in dear]
bids = {each["id"]: each["min_bid"] for each in cheap}
how = {"image": "ubuntu:24.04", "disk": 32, "ssh": True, "direct": True, "cancel_unavail": True}
fixed = client.create_instance(offers[1], label="its-own", onstart_cmd="true", **how)
bid = client.create_instance(offers[2], label="its-own", bid_price=bids[offers[2]], **how)
ids = [fixed["new_contract"], bid["new_contract"]]
client.attach_ssh(ids[0], "ssh-ed25519 AAAAC3Nza ada")
states = [client.show_instance(ids[0])["actual_status"] for _ in range(4)]
shown = client.show_instance(ids[0])
listed = {each["id"]: each["is_bid"] for each in client.show_instances() if each["label"] == "its-own"}
refusals = []
for offer, more in ((offers[1], {}), (12, {}), (offers[0], {"bid_price": 0.001})):
    try:
        client.create_instance(offer, **how, **more)
    except Exception as error:
        refusals.append([error.response.status_code, error.response.json()["error"]])
ends = [client.destroy_instance(each)["success"] for each in ids]
after = client.show_instance(ids[0])
print(json.dumps({
    "offers": offers, "cheapest": min(bids.values()), "success": fixed["success"], "states": states,
    "address": shown["public_ipaddr"], "port": shown["ports"]["22/tcp"][0]["HostPort"], "keys": shown["extra_env"],
    "listed": {str(ids.index(each)): bid for each, bid in listed.items()}, "refusals": refusals, "ends": ends,
    "after": after, "account": client.show_user()["id"],
}))
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory, require: Any) -> Path:
    """A Python that has the vendor's package, in an environment of its own."""
    folder = tmp_path_factory.mktemp("vendor") / "environment"
    uv = asyncio.run(find_uv())
    for command in (
        (uv, "venv", "--quiet", "--python", base_python(), folder),
        (uv, "pip", "install", "--quiet", "--python", folder / "bin/python", RELEASE),
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        require(not done.returncode, f"{RELEASE} from the package index, and {uv} says: {done.stderr.strip()[-500:]}")
    return folder / "bin/python"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_vendors_own_client_searches_rents_looks_and_destroys(
    vastai_api: VastAIServer, python: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [str(python), "-c", FLOW, vastai_api.endpoint]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["offers"] == [4004, 1000, 1001]
    assert told["cheapest"] == 0.02
    assert (told["success"], told["account"]) == (True, 4711)
    assert told["states"] == ["created", "running", "running", "running"]
    assert told["address"].strip().startswith("127.78.")
    assert int(told["port"]) > 20_000
    assert told["keys"] == {}
    assert told["listed"] == {"0": False, "1": True}
    assert told["refusals"] == [[410, "no_such_ask"], [404, "invalid_args"], [400, "invalid_price"]]
    assert (told["ends"], told["after"]) == ([True, True], None)
    assert vastai_api.ours == []
    agents = {each.headers["user-agent"].partition("/")[0] for each in vastai_api.requests}
    assert agents == {"vastai-sdk"}
