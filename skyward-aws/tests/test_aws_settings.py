"""What users write, that it costs nothing, and that what is wrong with an account is told before anything is made."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rig.rig import Rig

from skyward import AuthenticationFailed, ConfigurationError, ProviderError, Unavailable
from skyward.spi import PoolIdentity
from skyward_aws import AWS, _network


def test_settings_are_values() -> None:
    settings = AWS(region="eu-west-1", ssh_from=("203.0.113.7/32",))
    assert settings == AWS(region="eu-west-1", ssh_from=("203.0.113.7",)) != AWS()
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, AWS(), AWS(region="us-east-1")}) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "virginia"),
        ("region", None),
        ("profile", ""),
        ("architecture", "sparc"),
        ("ami", "ubuntu"),
        ("user", "Root!"),
        ("disk_gb", 0),
        ("disk_gb", True),
        ("subnet", "vpc-1"),
        ("security_group", "default"),
        ("ssh_from", "everywhere"),
        ("ssh_from", ()),
        ("ssh_from", 7),
        ("public_ip", "yes"),
        ("instance_profile", "arn:aws:iam::1:instance-profile/x"),
        ("reap_regions", "all"),
        ("reap_regions", 3),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_setting(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        AWS(**{name: value})  # type: ignore[arg-type]


def test_the_entry_point_leads_to_the_provider() -> None:
    [found] = [each for each in entry_points(group="skyward") if each.module == "skyward_aws.plugin"]
    [descriptor] = found.load().skyward_providers()
    assert (descriptor.name, descriptor.settings) == ("AWS", AWS)


def test_the_plugin_loads_nothing_that_is_slow() -> None:
    code = "import skyward_aws.plugin, sys; print({'boto3', 'botocore', 'asyncssh', 'asyncio'} & {*sys.modules})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"


def refusal(settings: AWS) -> ProviderError:
    who = PoolIdentity(pool_id="x", owner="x", deadline=None, lease=None, token=b"x")
    with pytest.raises(ProviderError) as caught:
        asyncio.run(settings.open(who))
    return caught.value


def test_missing_credentials_are_told_with_the_variables_to_set(aws_api: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = refusal(AWS())
    assert isinstance(error, AuthenticationFailed)
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in str(error)
    assert not aws_api.calls


def test_one_half_of_the_credentials_is_not_enough(aws_api: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = refusal(AWS())
    assert isinstance(error, AuthenticationFailed)
    assert "AWS_SECRET_ACCESS_KEY" in str(error)


def test_wrong_credentials_are_told(aws_api: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG00000000001")
    error = refusal(AWS())
    assert isinstance(error, AuthenticationFailed)
    assert "AWS refuses the credentials in us-east-1" in str(error)


def test_a_profile_that_does_not_exist_is_told_with_the_near_matches(
    aws_api: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "has no profile 'trainnig', there is none: name one" in str(refusal(AWS(profile="trainnig")))
    file = tmp_path / "config"
    file.write_text("[profile training]\n[profile home]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "trainnig")
    error = refusal(AWS())
    assert isinstance(error, AuthenticationFailed)
    assert "~/.aws/config has no profile 'trainnig', did you mean training: name one in AWS(profile=...)" in str(error)
    assert not aws_api.calls


def test_a_profile_of_the_users_files_is_used(aws_api: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(
        f"[training]\naws_access_key_id = {aws_api.environment['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = any\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    async def main() -> None:
        who = PoolIdentity(pool_id="x", owner="x", deadline=None, lease=None, token=b"x")
        await (await AWS(profile="training").open(who)).close()

    asyncio.run(main())


def test_a_region_that_does_not_exist_is_told_with_the_near_ones(aws_api: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # as a name that leads nowhere
    error = refusal(AWS(region="us-esat-1"))
    assert isinstance(error, Unavailable)
    assert "us-esat-1" in str(error)
    assert "did you mean" in str(error)
    assert "us-east-1" in str(error)


def found(settings: AWS) -> dict[str, Any]:
    return {finding.subject: finding for finding in asyncio.run(settings.check())}


def test_the_doctor_finds_a_sound_account_sound_and_makes_nothing(aws_api: Rig, settings: AWS) -> None:
    findings = found(settings)
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert {"credentials", "image", "network", "prices", "permission ec2:CreateFleet"} <= findings.keys()
    assert aws_api.left() == {}


def test_the_doctor_names_each_permission_that_is_missing(aws_api: Rig, settings: AWS) -> None:
    aws_api.allow("ec2:Describe*", "ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateTags", "ssm:*")
    findings = found(settings)
    assert findings["permission ec2:CreateFleet"].level == "ok"
    assert findings["permission ec2:ImportKeyPair"].level == "problem"
    assert findings["permission ec2:ImportKeyPair"].remedy.startswith("add ec2:ImportKeyPair to the policy")
    assert findings["prices"].level == "warning"
    assert "pricing:GetProducts" in findings["prices"].remedy


def test_a_role_that_may_not_be_handed_on_is_told_by_its_own_permission(aws_api: Rig, settings: AWS) -> None:
    aws_api.allow("ec2:*", "ssm:*", "pricing:*")
    refused = found(evolve(settings, instance_profile="training"))["permission ec2:RunInstances"]
    assert refused.remedy.startswith("add iam:PassRole to the policy")


def test_the_caller_is_let_in_from_the_address_under_which_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    mirror.write_text("198.51.100.7\n")
    monkeypatch.setattr(_network, "_MIRROR", mirror.as_uri())
    networks = asyncio.run(_network.caller())
    assert networks == ("198.51.100.7/32",)
    [ssh, inner] = _network.rules("sg-1", (*networks, "2001:db8::/32"))
    assert [each["CidrIp"] for each in ssh["IpRanges"]] == ["198.51.100.7/32"]
    assert [each["CidrIpv6"] for each in ssh["Ipv6Ranges"]] == ["2001:db8::/32"]
    assert inner["UserIdGroupPairs"][0]["GroupId"] == "sg-1"


def test_an_address_that_nobody_tells_is_asked_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_network, "_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"AWS\(ssh_from='203.0.113.7/32'\)"):
        asyncio.run(_network.caller())


def test_a_missing_default_vpc_is_told_with_what_to_do(aws_api: Rig, opened: Any) -> None:
    import boto3

    import skyward as sky
    from skyward.spi import ComputeSpec

    ec2 = boto3.Session(region_name="eu-west-1").client("ec2")
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])

    async def main() -> None:
        async with opened(region="eu-west-1") as session:
            with pytest.raises(Unavailable, match="aws ec2 create-default-vpc --region eu-west-1"):
                await session.offers(ComputeSpec(nodes=1, image=sky.Image()))

    asyncio.run(main())
