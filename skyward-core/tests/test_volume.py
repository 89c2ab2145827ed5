from __future__ import annotations

import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skyward.errors import ConfigurationError
from skyward.model.volume import S3Volume


def refusal(**parameters: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        S3Volume(**{"mount_path": "/data", "bucket": "my-bucket", **parameters})  # type: ignore[arg-type]
    return str(caught.value)


def test_a_volume_has_the_documented_parameters_and_defaults() -> None:
    volume = S3Volume(mount_path="/data", bucket="my-bucket")
    assert (volume.mount_path, volume.bucket, volume.prefix, volume.read_only) == ("/data", "my-bucket", "", True)
    full = S3Volume("/data", "my-bucket", "datasets/", False)
    assert (full.prefix, full.read_only) == ("datasets/", False)


def test_a_volume_hashes_and_pickles() -> None:
    volume = S3Volume("/data", "my-bucket", "datasets")
    assert {volume: 1}[pickle.loads(pickle.dumps(volume))] == 1


@pytest.mark.parametrize(
    ("given_path", "kept"),
    [
        ("/data", "/data"),
        ("/data/", "/data"),
        ("//data//sets", "/data/sets"),
        ("/mnt/./x", "/mnt/x"),
        ("/home/me/d", "/home/me/d"),
    ],
)
def test_a_mount_path_is_kept_in_its_plain_form(given_path: str, kept: str) -> None:
    assert S3Volume(given_path, "my-bucket").mount_path == kept


@pytest.mark.parametrize("path", ["data", "./data", "~/data", "", None, 3])
def test_a_mount_path_that_is_not_absolute_is_refused(path: object) -> None:
    assert "must be an absolute path" in refusal(mount_path=path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/proc",
        "/proc/1",
        "/sys/x",
        "/dev/shm",
        "/etc",
        "/usr",
        "/usr/lib/",
        "/tmp",
        "/home",
        "/var",
        "/run/x",
    ],
)
def test_a_mount_path_over_the_system_is_refused(path: str) -> None:
    assert "would hide the system's own files" in refusal(mount_path=path)


@pytest.mark.parametrize("path", ["/data/../etc", "/data/..", "/da\nta", "/da\0ta"])
def test_a_mount_path_with_tricks_is_refused(path: str) -> None:
    assert "write the plain path" in refusal(mount_path=path)


@pytest.mark.parametrize(
    "bucket",
    ["abc", "my-bucket", "my.bucket.v2", "1a2", "a" * 63, "x--use1-az4--x-s3", "point-abc123-s3alias", "1.2.3"],
)
def test_a_name_that_s3_takes_is_taken(bucket: str) -> None:
    assert S3Volume("/data", bucket).bucket == bucket


@pytest.mark.parametrize(
    ("bucket", "reason"),
    [
        ("ab", "3 to 63 characters, this one 2"),
        ("a" * 64, "this one 64"),
        ("My-Bucket", "lower-case"),
        ("my_bucket", "lower-case"),
        ("-bucket", "begin and end"),
        ("bucket-", "begin and end"),
        ("bucket.", "begin and end"),
        ("bücket", "lower-case"),
        ("bucket\n", "lower-case"),
        ("a..b", "two dots in a row"),
        ("192.168.5.4", "IP address"),
        ("xn--bucket", "'xn--' is reserved"),
        ("sthree-bucket", "'sthree-' is reserved"),
        ("amzn-s3-demo-bucket", "'amzn-s3-demo-' is reserved"),
        ("s3://my-bucket/x", "bare name"),
        ("arn:aws:s3:::my-bucket", "bare name"),
        (None, "must be a string"),
    ],
)
def test_a_bucket_that_breaks_a_rule_of_s3_is_refused_with_the_rule(bucket: object, reason: str) -> None:
    assert reason in refusal(bucket=bucket)


@given(st.from_regex(r"[a-w][a-z0-9]{2,30}(-[a-z0-9]{1,30})?", fullmatch=True))
def test_plain_words_are_buckets(bucket: str) -> None:
    assume(not bucket.startswith("sthree-"))
    assert S3Volume("/data", bucket).bucket == bucket


@pytest.mark.parametrize(("text", "kept"), [("", ""), ("a", "a/"), ("a/b/", "a/b/"), ("a b", "a b/"), ("é", "é/")])
def test_a_prefix_is_kept_with_a_slash_at_its_end(text: str, kept: str) -> None:
    assert S3Volume("/data", "my-bucket", text).prefix == kept


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("/a", "write 'a'"),
        ("a//b", "empty"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("a\nb", "unprintable"),
        ("é" * 512, "1024 bytes"),
        (None, "must be a string"),
    ],
)
def test_a_prefix_that_no_file_system_can_show_is_refused(prefix: object, said: str) -> None:
    assert said in refusal(prefix=prefix)


@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_read_only_must_be_a_bool(value: object) -> None:
    assert "read_only must be True or False" in refusal(read_only=value)
