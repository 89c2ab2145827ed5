"""Machines without an open port, which Session Manager leads to."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from attrs import evolve
from rig.rig import PLUGIN, Rig

import skyward as sky
from skyward import AuthenticationFailed, ConfigurationError, ProviderError, Unavailable
from skyward.spi import PoolIdentity
from skyward_aws import AWS, _ssm
from skyward_aws._doctor import examine
from skyward_aws._ssm import Tunnels, found_plugin

_DOCUMENT = (Path(__file__).parents[2] / "docs/aws.md").read_text()
_SECTION = _DOCUMENT.partition("\n### Session Manager\n")[2].partition("\n## ")[0]
[STATEMENTS] = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", _SECTION, re.DOTALL))
PAGE = "session-manager-working-with-install-plugin.html"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a plugin that is a shell script on PATH, in front of everything else."""

    def install(script: str) -> Path:
        folder = tmp_path / "programs"
        folder.mkdir()
        (folder / PLUGIN).write_text(f"#!/bin/sh\n{script}\n")
        (folder / PLUGIN).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder

    return install


@pytest.fixture
def recorded(aws: Rig, plugin: Callable[[str], Path], tmp_path: Path) -> Path:
    """The rig's plugin, and a file with the arguments of each of its runs."""
    calls = tmp_path / "calls"
    plugin(f'printf \'%s\\n\' "$*" >>{calls}\nexec {aws.programs}/{PLUGIN} "$@"')
    return calls


def opening(settings: AWS) -> None:
    who = PoolIdentity(pool_id="x", owner="x", deadline=None, lease=None, token=b"x")

    async def main() -> None:
        await (await settings.open(who)).close()

    asyncio.run(main())


def refusal(settings: AWS) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        opening(settings)
    return caught.value


# what it needs


def test_the_plugin_that_is_missing_is_named_with_where_to_get_it(
    aws_api: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refusal(AWS(use_ssm=True, instance_profile="mine"))
    assert isinstance(error, Unavailable)
    assert "session-manager-plugin" in str(error)
    assert PAGE in str(error)
    assert {*aws_api.calls} == {"sts:GetCallerIdentity"}
    opening(AWS(instance_profile="mine"))  # who does not need it is not asked for it


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 1.2.497.0", "is 1.2.497.0, which takes the token of a session only on its command line"),
        ("echo", "of no version"),
        ("exit 3", "does not run"),
    ],
)
def test_a_plugin_that_would_show_tokens_or_does_not_run_is_refused(
    plugin: Callable[[str], Path], script: str, words: str
) -> None:
    folder = plugin(script)
    with pytest.raises(Unavailable, match=words) as caught:
        found_plugin()
    assert str(folder / PLUGIN) in str(caught.value)
    assert PAGE in str(caught.value)


def test_the_first_plugin_that_hides_tokens_will_do(plugin: Callable[[str], Path]) -> None:
    folder = plugin("echo 1.2.498.0")
    assert found_plugin() == str(folder / PLUGIN)


def test_a_role_is_needed_from_the_settings_or_from_the_region(aws_api: Rig, plugin: Callable[[str], Path]) -> None:
    plugin("echo 1.2.707.0")
    for allowed in (None, ("sts:*",)):
        aws_api.world.policy = allowed
        error = refusal(AWS(use_ssm=True))
        assert isinstance(error, Unavailable)
        assert re.search(r"AmazonSSMManagedInstanceCore: name .* AWS\(use_ssm=True, instance_profile=...\)", str(error))
    aws_api.world.policy = None
    opening(AWS(use_ssm=True, instance_profile="mine"))
    aws_api.world.managed = True
    opening(AWS(use_ssm=True))


def test_networks_that_are_let_in_are_refused_beside_it() -> None:
    with pytest.raises(ConfigurationError, match="use_ssm opens no port, and ssh_from="):
        AWS(use_ssm=True, ssh_from=("203.0.113.7/32",))
    with pytest.raises(ConfigurationError, match="use_ssm"):
        AWS(use_ssm=1)  # type: ignore[arg-type]


def test_the_doctor_looks_at_it_and_asks_nobody_for_this_machines_address(
    aws_api: Rig, opened: Any, plugin: Callable[[str], Path]
) -> None:
    async def findings(settings: AWS) -> dict[str, tuple[str, str]]:
        async with opened() as session:
            return {each.subject: (each.level, each.remedy) for each in await examine(session._api, settings)}

    plugin("echo 1.2.497.0")
    settings = AWS(use_ssm=True, instance_profile="mine")
    found = asyncio.run(findings(settings))
    assert "address of this machine" not in found
    level, remedy = found["Session Manager"]
    assert level == "problem"
    assert PAGE in remedy


# the way there


def instances(profiles: int, bare: int) -> list[str]:
    """Machines of a pool, those with a role first, and one of nobody's with a role."""
    boto3.client("iam").create_instance_profile(InstanceProfileName="mine")
    name = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
    image = boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    common: Any = {"ImageId": image, "InstanceType": "c7i.large", "MinCount": 1, "MaxCount": 1}
    role: Any = {"IamInstanceProfile": {"Name": "mine"}}
    tags: Any = {
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "skyward-pool", "Value": "p"}]}],
    }
    kinds = [*([{**role, **tags}] * profiles), *([tags] * bare), role]
    ec2 = boto3.client("ec2")
    made = [ec2.run_instances(**common, **each)["Instances"][0]["InstanceId"] for each in kinds]
    ec2.describe_instances(InstanceIds=made)
    return made


def test_sessions_are_asked_for_by_machine_and_their_tokens_stand_in_a_variable_alone(
    aws_api: Rig, opened: Any, plugin: Callable[[str], Path], settings: AWS
) -> None:
    plugin("echo 1.2.707.0")
    there, bare, _ = instances(1, 1)

    async def main() -> None:
        async with opened() as session:
            tunnels = Tunnels(session._api, settings)
            proxy = await tunnels.to(there)
            _, name, region, operation, profile, request, endpoint = proxy.command
            assert (region, operation, profile, endpoint) == ("us-east-1", "StartSession", "", aws_api.endpoint)
            assert json.loads(request)["Target"] == there
            told = json.loads(proxy.environment[name])
            assert {*told} == {"SessionId", "TokenValue", "StreamUrl"}
            assert told["TokenValue"] not in f"{proxy} {proxy.command}"
            again = await tunnels.to(there)
            assert json.loads(again.environment[name])["SessionId"] != told["SessionId"]
            with pytest.raises(Unavailable, match=r"has not reported to Systems Manager: it needs a role with .*Core"):
                await tunnels.to(bare)

    asyncio.run(main())


def test_the_statements_of_the_documentation_are_needed_and_enough(
    aws_api: Rig, opened: Any, plugin: Callable[[str], Path], settings: AWS
) -> None:
    plugin("echo 1.2.707.0")
    aws_api.world.managed = True
    there, strange = instances(1, 0)

    async def main() -> None:
        async with opened() as session:
            tunnels = Tunnels(session._api, settings)

            def allow(*without: str) -> None:
                kept = [each for each in STATEMENTS if each["Sid"] not in without]
                aws_api.world.document = {"Version": "2012-10-17", "Statement": kept}

            allow()
            await tunnels.check()
            await tunnels.to(there)
            with pytest.raises(AuthenticationFailed):
                await tunnels.to(strange)  # it is no pool's
            for needed in ("OpenSessions", "BySsh"):
                allow(needed)
                with pytest.raises(AuthenticationFailed, match="add ssm:StartSession to the policy"):
                    await tunnels.to(there)
            allow("LookForRoles")
            with pytest.raises(Unavailable, match="AmazonSSMManagedInstanceCore"):
                await tunnels.check()
            aws_api.world.document = None

    asyncio.run(main())


@pytest.mark.slow
def test_a_pool_works_without_an_open_port_and_leaves_nothing(aws: Rig, settings: AWS, recorded: Path) -> None:
    @sky.compute
    def doubled(x: int) -> int:
        return 2 * x

    boto3.client("iam").create_instance_profile(InstanceProfileName="mine")
    hidden = evolve(settings, use_ssm=True, ssh_from=None, instance_profile="mine")
    with sky.ComputePool(hidden, display="quiet", timeout=1800) as pool:
        assert doubled(21) >> pool == 42
        groups = boto3.client("ec2").describe_security_groups()["SecurityGroups"]
        [mine] = [each for each in groups if each["GroupName"] != "default"]
        assert not [rule for rule in mine["IpPermissions"] if rule.get("IpRanges") or rule.get("Ipv6Ranges")]
        machines = {*aws.existing()}
    assert aws.left() == {}
    runs = [line for line in recorded.read_text().splitlines() if line != "--version"]
    assert {re.search(r'"Target": "(i-\w+)"', line)[1] for line in runs} == machines  # type: ignore[index]
    assert all(line.startswith("AWS_SSM_START_SESSION_RESPONSE us-east-1 StartSession ") for line in runs)
    assert not any("TokenValue" in line for line in runs)


@pytest.mark.slow
def test_where_the_port_is_out_of_reach_session_manager_is_fallen_back_to(
    aws: Rig, settings: AWS, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @sky.compute
    def doubled(x: int) -> int:
        return 2 * x

    monkeypatch.setattr(_ssm, "FALL_BACK", 1e-3)
    boto3.client("iam").create_instance_profile(InstanceProfileName="mine")
    elsewhere = evolve(settings, ssh_from=("203.0.113.0/24",), instance_profile="mine")
    with sky.ComputePool(elsewhere, display="quiet", timeout=1800) as pool:
        assert doubled(21) >> pool == 42
    assert aws.left() == {}
    assert aws.calls["ssm:StartSession"] >= 1
    assert recorded.exists()
