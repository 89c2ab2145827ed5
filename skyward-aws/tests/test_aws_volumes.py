"""Buckets that nodes have as directories: on machines with FUSE, against moto's S3."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import boto3
import pytest
from attrs import evolve
from rig.faults import EVER
from rig.rig import Rig
from rig.world import SECRET

import skyward as sky
from skyward import AuthenticationFailed, ProviderError, S3Volume, Unavailable
from skyward.model.volumes import step
from skyward.spi import ComputeSpec, Mount
from skyward_aws import AWS
from skyward_aws._session import AWSSession
from skyward_aws._volumes import policy

DATA = S3Volume("/data", "my-data", "datasets/")
RUNS = S3Volume("/mnt/my runs", "my-runs", "first/run", read_only=False)
CHECKPOINT = 20 << 20
LENT = "AKIAIOSFODNN7EXAMPLE"
"""The id of every key that moto lends."""

type Opened = Callable[..., AbstractAsyncContextManager[AWSSession]]


@pytest.fixture
def buckets(aws: Rig, require: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """S3 with a data set and an empty bucket, at an address that machines reach as well."""
    require(os.path.exists("/dev/fuse"), "/dev/fuse")
    endpoint = aws.endpoint_inside()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join((os.environ.get(name, ""), endpoint.split("//")[1].split(":")[0])))
    s3 = boto3.client("s3")
    for bucket in ("my-data", "my-runs"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="my-data", Key="datasets/train/one.csv", Body=b"1,2\n")
    s3.put_object(Bucket="my-data", Key="elsewhere.csv", Body=b"-\n")
    return s3


@pytest.mark.slow
def test_nodes_read_a_data_set_and_each_others_checkpoints_by_short_lived_credentials_and_unmount_at_the_end(
    aws: Rig, settings: AWS, buckets: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "skyward")

    @sky.compute
    def read() -> tuple[list[str], str, str]:
        from pathlib import Path

        refused = ""
        try:
            Path("/data/mine").write_text("x")
        except OSError as error:
            refused = str(error)
        return sorted(os.listdir("/data")), Path("/data/train/one.csv").read_text(), refused

    @sky.compute
    def save(size: int) -> None:
        if sky.instance_info().node == 0:
            folder = "/mnt/my runs/epoch-1"
            os.makedirs(folder)
            with open(f"{folder}/model.pt", "wb") as file:
                file.write(b"w" * size)

    @sky.compute
    def load() -> int:
        until, path = time.monotonic() + 60, "/mnt/my runs/epoch-1/model.pt"
        while not os.path.exists(path):  # for a second another node may not know it
            if time.monotonic() > until:
                raise FileNotFoundError(path)
        with open(path, "rb") as file:
            return len(file.read())

    mounted: dict[str, tuple[str, str]] = {}
    phases: list[Any] = []
    with sky.ComputePool(
        settings, nodes=2, volume=[DATA, RUNS], display="quiet", timeout=1800, on_event=phases.append
    ) as pool:
        assert read() @ pool == ((["train"], "1,2\n", "[Errno 30] Read-only file system: '/data/mine'"),) * 2
        save(CHECKPOINT) @ pool
        assert buckets.head_object(Bucket="my-runs", Key="first/run/epoch-1/model.pt")["ContentLength"] == CHECKPOINT
        assert load() @ pool == (CHECKPOINT,) * 2
        names = aws.existing()
        for name in names:
            see_that_no_secret_lies_about(aws, name, caplog)
        aws.faults.delay("TerminateInstances", lambda: mounted.update(mounts_left(aws)))
    assert "volumes" in {each.step for each in phases if isinstance(each, sky.BootstrapPhase)}
    assert sorted(mounted) == sorted(names)
    for mounts, left in mounted.values():
        assert "fuse" not in mounts
        assert "rclone" not in left
        assert "volumes.env" not in left
    assert aws.calls["sts:GetFederationToken"] == 1
    assert [each["Key"] for each in buckets.list_objects_v2(Bucket="my-runs")["Contents"]] == [
        "first/run/epoch-1/model.pt"
    ]
    assert aws.left() == {}


def mounts_left(aws: Rig) -> dict[str, tuple[str, str]]:
    """The mounts, programs and files of machines that are about to be ended, whose nodes end or have ended."""
    found: dict[str, tuple[str, str]] = {}
    for name in aws.existing():
        gone = "timeout 20 sh -c 'while grep -q fuse /proc/mounts || pgrep rclone >/dev/null; do :; done'"
        mounts = aws.machine(name).sh(f"{gone}; cat /proc/mounts")
        found[name] = (mounts, aws.machine(name).sh("pgrep -a rclone || true; ls /home/ubuntu/.skyward"))
    return found


def see_that_no_secret_lies_about(aws: Rig, name: str, caplog: pytest.LogCaptureFixture) -> None:
    machine = aws.machine(name)
    environment = machine.sh("tr '\\0' '\\n' </proc/$(pgrep -o rclone)/environ")
    own = dict(line.partition("=")[::2] for line in environment.splitlines())
    assert own["AWS_ACCESS_KEY_ID"] == LENT
    secrets = [own["AWS_SECRET_ACCESS_KEY"], own["AWS_SESSION_TOKEN"], SECRET]
    assert all(len(secret) > 20 for secret in secrets)
    patterns = " ".join(f"-e '{secret}'" for secret in secrets)
    skipped = "--exclude-dir=venv --exclude-dir=cache --exclude-dir=payload"
    places = "/home /opt /root /run /tmp /var/log /var/lib/rig /var/lib/cloud /etc /mnt/rig"
    assert machine.sh(f"grep -rlF {skipped} {patterns} {places} 2>/dev/null || true") == ""
    commands = machine.sh("for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$each; echo; done 2>/dev/null; true")
    assert "rclone mount" in commands
    assert not [secret for secret in secrets if secret in commands + caplog.text]
    mode = machine.sh("stat -c '%a %U' /proc/$(pgrep -o rclone)/environ").split()
    assert mode == ["400", "root"]


@pytest.mark.slow
def test_what_a_role_may_not_do_and_a_bucket_that_has_gone_are_told_in_the_phase(
    aws: Rig, settings: AWS, buckets: Any
) -> None:
    boto3.client("iam").create_instance_profile(InstanceProfileName="mine")
    aws.faults.fail("PUT my-runs", "AccessDenied", 403, times=EVER)
    told: list[str] = []

    def run_again() -> None:
        """Before the machine is ended: the same phase, where a bucket may not be listed, and where it is not there."""
        [name] = aws.existing()
        again = evolve(DATA, mount_path="/again")
        script = sky.Image().bootstrap(
            steps=[step([Mount(volume=again, endpoint=os.environ["AWS_ENDPOINT_URL_S3"])])], phases=["volumes"]
        )
        for code, status in (("AccessDenied", 403), ("NoSuchBucket", 404)):
            aws.faults.fail("GET my-data", code, status, times=EVER)
            text = base64.b64encode(script.encode()).decode()
            told.append(aws.machine(name).sh(f"echo {text} | base64 -d | SKYWARD_ROOT=/again-root sh 2>&1 || true"))
            aws.faults.clear()

    aws.faults.delay("TerminateInstances", run_again, times=1)
    with (
        pytest.raises(sky.BootstrapError, match="in the phase volumes") as raised,
        sky.ComputePool(evolve(settings, instance_profile="mine"), volume=[RUNS], display="quiet", timeout=1800),
    ):
        pass
    assert "the machine's own role may not write to s3://my-runs/first/run/: allow s3:ListBucket" in str(raised.value)
    assert "the machine's own role may not read s3://my-data/datasets/: allow s3:ListBucket" in told[0]
    assert "there is no bucket my-data at http" in told[1]
    assert aws.calls["sts:GetFederationToken"] == 0
    assert aws.left() == {}


# ---- before anything is bought


def asked(opened: Opened, *volumes: S3Volume, **settings: Any) -> list[Mount]:
    """What nodes would be given, after the offers."""

    async def main() -> list[Mount]:
        async with opened(**settings) as session:
            await session.offers(ComputeSpec(nodes=1, image=sky.Image(), volumes=volumes))
            return await session._volumes.mounts(time.time() + 3600)

    return asyncio.run(main())


def refusal(opened: Opened, *volumes: S3Volume, **settings: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        asked(opened, *volumes, **settings)
    return raised.value


@pytest.fixture
def s3(aws_api: Rig, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket behind a name that is not this machine's alone."""
    monkeypatch.setattr("skyward_aws._volumes.is_this_machine", lambda host: False)
    client = boto3.client("s3")
    client.create_bucket(Bucket="my-data")
    return client


def test_a_bucket_that_is_not_there_is_told_before_anything_is_bought(aws_api: Rig, s3: Any, opened: Opened) -> None:
    error = refusal(opened, DATA, S3Volume("/else", "no-such-bucket"))
    assert isinstance(error, Unavailable)
    assert "there is no bucket 'no-such-bucket'" in str(error)


def test_a_bucket_that_the_client_may_not_read_is_told_but_for_machines_with_a_role(
    aws_api: Rig, s3: Any, opened: Opened
) -> None:
    aws_api.faults.fail("GET my-data", "AccessDenied", 403, times=EVER)
    error = refusal(opened, DATA)
    assert isinstance(error, AuthenticationFailed)
    assert "s3://my-data/datasets/" in str(error)
    assert "s3:GetObject" in str(error)
    [mount] = asked(opened, DATA, instance_profile="mine")
    assert mount.credentials is None


def test_a_service_that_nodes_cannot_reach_is_told(aws_api: Rig, opened: Opened) -> None:
    boto3.client("s3").create_bucket(Bucket="my-data")
    assert "set AWS_ENDPOINT_URL_S3" in str(refusal(opened, DATA))


def test_nodes_get_credentials_for_their_volumes_alone_that_end_soon_after_the_pool(
    aws_api: Rig, s3: Any, opened: Opened
) -> None:
    [mount] = asked(opened, DATA)
    assert mount.volume == DATA
    assert mount.endpoint == aws_api.endpoint
    assert mount.credentials is not None
    assert mount.credentials.key == LENT
    assert mount.credentials.secret not in repr(mount)
    [call] = [each for each in aws_api.world.calls if each.action == "GetFederationToken"]
    assert 4100 <= int(call.params["DurationSeconds"]) <= 4200
    assert call.params["Policy"] == policy([DATA], "us-east-1")


def test_an_account_that_may_not_lend_credentials_is_told_of_roles(aws_api: Rig, s3: Any, opened: Opened) -> None:
    aws_api.faults.fail("GetFederationToken", "AccessDenied", 403, times=EVER)
    error = refusal(opened, DATA)
    assert isinstance(error, AuthenticationFailed)
    assert "sts:GetFederationToken" in str(error)
    assert "instance_profile" in str(error)


def test_a_client_with_short_lived_credentials_lends_them_and_says_so(
    aws_api: Rig, s3: Any, opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token of mine")
    [mount] = asked(opened, DATA)
    assert mount.credentials is not None
    assert mount.credentials.token == "a token of mine"
    assert "instance_profile" in caplog.text
    assert "a token of mine" not in caplog.text


def test_the_policy_allows_to_write_where_that_was_asked_for_and_only_below_the_prefix() -> None:
    statements = json.loads(policy([DATA, RUNS], "cn-north-1"))["Statement"]
    by_resource = {each["Resource"]: each for each in statements}
    assert by_resource["arn:aws-cn:s3:::my-data"]["Condition"] == {"StringLike": {"s3:prefix": ["datasets/*"]}}
    assert by_resource["arn:aws-cn:s3:::my-data/datasets/*"]["Action"] == ["s3:GetObject"]
    assert "s3:PutObject" in by_resource["arn:aws-cn:s3:::my-runs/first/run/*"]["Action"]
    assert "s3:prefix" not in json.dumps(json.loads(policy([S3Volume("/x", "my-data")], "us-east-1")))
