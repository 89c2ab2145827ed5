"""Buckets that containers have as directories, against moto's S3 at an address that they reach."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from skyward_container import Container
from skyward_container._volumes import mounts_of

DATA = sky.S3Volume("/data", "my-data", "datasets/")
OUT = sky.S3Volume("/out", "my-data", "out/", read_only=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the variables of AWS's tools, and nothing else of them."""

    def set_all(**variables: str) -> None:
        for name in [each for each in os.environ if each.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.fixture
def s3(require: Any, environment: Callable[..., None]) -> Iterator[Any]:
    """Moto's S3 at an address of this machine that containers reach, with a data set."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server")
    require(os.path.exists("/dev/fuse"), "/dev/fuse")
    moto = server.ThreadedMotoServer("0.0.0.0", 0, verbose=False)
    moto.start()
    port = moto.get_host_and_port()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        address = probe.getsockname()[0]
    environment(
        AWS_ACCESS_KEY_ID="AKIAMINE",
        AWS_SECRET_ACCESS_KEY=secrets.token_hex(20),
        AWS_ENDPOINT_URL_S3=f"http://{address}:{port}",
        NO_PROXY=f"{os.environ.get('NO_PROXY', '')},{address}",
    )
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="my-data")
    client.put_object(Bucket="my-data", Key="datasets/one.csv", Body=b"1,2\n")
    yield client
    moto.stop()


@pytest.mark.slow
def test_a_container_reads_a_bucket_and_writes_to_it(
    provider: Container, s3: Any, left: Callable[[], list[str]]
) -> None:
    @sky.compute
    def copy() -> str:
        text = Path("/data/one.csv").read_text()
        Path("/out/two.csv").write_text(text * 2)
        return text

    with sky.ComputePool(provider, volume=[DATA, OUT], display="quiet", timeout=1800) as pool:
        assert copy() >> pool == "1,2\n"
        assert s3.get_object(Bucket="my-data", Key="out/two.csv")["Body"].read() == b"1,2\n1,2\n"
    assert left() == []


def test_what_is_missing_for_volumes_is_named(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyward_container._volumes.FUSE", "/dev/null")
    environment()
    with pytest.raises(sky.AuthenticationFailed, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        mounts_of([DATA])
    keys = {"AWS_ACCESS_KEY_ID": "AKIAMINE", "AWS_SECRET_ACCESS_KEY": "mine", "AWS_SESSION_TOKEN": "token"}
    environment(**keys, AWS_ENDPOINT_URL="http://localhost:9000")
    with pytest.raises(sky.Unavailable, match="where a container finds only itself"):
        mounts_of([DATA])
    environment(**keys, AWS_REGION="eu-west-1", AWS_ENDPOINT_URL_S3="https://minio.example:9000")
    [mount] = mounts_of([DATA])
    assert (mount.region, mount.endpoint) == ("eu-west-1", "https://minio.example:9000")
    assert mount.credentials is not None
    assert set(mount.credentials.secrets) == {"mine", "token"}
    monkeypatch.setattr("skyward_container._volumes.FUSE", "/nowhere/fuse")
    with pytest.raises(sky.Unavailable, match="modprobe fuse"):
        mounts_of([DATA])
    assert mounts_of([]) == []
