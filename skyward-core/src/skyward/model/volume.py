"""Storage that is mounted on every node."""

from __future__ import annotations

import ipaddress
import posixpath
import re

from attrs import field, frozen

from skyward.errors import ConfigurationError

__all__ = ["S3Volume", "Volume"]

# Mounting on these, or below them, breaks the machine; of the others only the directory itself is barred.
_SYSTEM_TREES = re.compile(r"/(bin|boot|dev|etc|lib|lib32|lib64|proc|run|sbin|sys)(/.*)?")
_SYSTEM_DIRECTORIES = re.compile(r"/(home|opt|root|srv|tmp|usr|usr/bin|usr/lib|usr/sbin|var)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_LONGEST_KEY = 1024  # bytes of UTF-8, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html


def _is_text(value: object) -> bool:
    """Whether this is a string, asked so that type checkers, who take that for granted, let the check stand."""
    return isinstance(value, str)


def _mount_path(value: object) -> str:
    """The path without doubled or trailing slashes."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ConfigurationError(f"mount_path must be an absolute path, not {value!r}; write for example '/data'")
    if not value.isprintable() or ".." in value.split("/"):
        raise ConfigurationError(
            f"mount_path {value!r} has '..' or unprintable characters; write the plain path, such as '/data'"
        )
    # normpath keeps two leading slashes, which POSIX lets a system give a meaning of its own.
    path = "/" + posixpath.normpath(value).lstrip("/")
    if _SYSTEM_TREES.fullmatch(path) or _SYSTEM_DIRECTORIES.fullmatch(path):
        raise ConfigurationError(
            f"mount_path '{path}' would hide the system's own files; "
            "use a directory of its own, such as '/data' or '/mnt/data'"
        )
    return path


def _prefix(value: object) -> str:
    """The prefix with a slash at its end, so that ``data`` does not take in ``database/`` as well."""
    if not isinstance(value, str):
        raise ConfigurationError(f"prefix must be a string, not {value!r}; write for example 'datasets/'")
    if not value:
        return ""
    if value.startswith("/"):
        raise ConfigurationError(
            f"prefix '{value}' starts with a slash, which no usual key does; write '{value.lstrip('/')}'"
        )
    prefix = value if value.endswith("/") else f"{value}/"
    if not prefix.isprintable() or {"", ".", ".."} & set(prefix[:-1].split("/")):
        raise ConfigurationError(
            f"prefix {value!r} has an empty, '.' or '..' part or unprintable characters; "
            "file systems cannot show those, so choose a prefix of plain names, such as 'datasets/'"
        )
    if len(prefix.encode()) > _LONGEST_KEY:
        raise ConfigurationError(f"prefix is longer than the {_LONGEST_KEY} bytes of a key in S3; shorten it")
    return prefix


def _check_bucket(_: object, __: object, value: str) -> None:
    if not _is_text(value):
        raise ConfigurationError(f"bucket must be a string, not {value!r}; write for example 'my-bucket'")
    if value.startswith(("s3://", "arn:")):
        raise ConfigurationError(
            f"bucket '{value}' is an address, not a name; write the bucket's bare name, and what follows it as prefix"
        )
    if reason := _bucket_fault(value):
        raise ConfigurationError(f"'{value}' cannot be a bucket: {reason}; check the name in the S3 console")


def _bucket_fault(name: str) -> str:
    if not 3 <= len(name) <= 63:
        return f"names have 3 to 63 characters, this one {len(name)}"
    if not _BUCKET.fullmatch(name):
        return "names have only lower-case letters, digits, dots and hyphens, and begin and end with a letter or digit"
    if ".." in name:
        return "names have no two dots in a row"
    if _is_address(name):
        return "names must not look like an IP address"
    if found := [prefix for prefix in _RESERVED_PREFIXES if name.startswith(prefix)]:
        return f"the beginning '{found[0]}' is reserved by AWS"
    return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _check_read_only(_: object, __: object, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"read_only must be True or False, not {value!r}")


@frozen
class S3Volume:
    """A bucket of Amazon S3, or the part of it under ``prefix``, that appears as a directory on every node.

    ``mount_path`` is absolute and outside the system's own directories. ``prefix`` is kept with a slash at its end.
    ``read_only`` is the default, so that a mistake on a node cannot delete data. ``bucket`` follows the rules for
    general purpose buckets, https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html: names in
    capitals or with underscores, as could be made before 2018, are refused. The reserved endings of those rules
    (``-s3alias``, ``--x-s3``, ...) are let through, because they name access points and directory buckets, which S3
    takes in place of a bucket.

    Raises :class:`ConfigurationError` for all that could not be mounted.
    """

    mount_path: str = field(converter=_mount_path)
    bucket: str = field(validator=_check_bucket)
    prefix: str = field(default="", converter=_prefix)
    read_only: bool = field(default=True, validator=_check_read_only)


type Volume = S3Volume
