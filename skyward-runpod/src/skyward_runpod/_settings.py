"""The provider's settings."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from skyward import ConfigurationError
from skyward.spi import Capabilities, Finding, PoolIdentity, is_number, is_text, is_truth

if TYPE_CHECKING:
    from attrs import Attribute

    from skyward_runpod._session import RunPodSession

__all__ = ["ENDPOINT", "RunPod"]

ENDPOINT = "https://api.runpod.io"
"""The vendor's own address, of the published schema."""
_LARGEST = 65_536
"""GB of a disk; far more than any host has, so that only slips are refused."""


def _is_cloud(settings: RunPod, attribute: Attribute[Any], value: object) -> None:
    del settings
    if value not in ("secure", "community", "any"):
        raise ConfigurationError(f"{attribute.name} must be 'secure', 'community' or 'any', not {value!r}")


def _centers(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    given = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    for each in given:
        if not isinstance(each, str) or not re.fullmatch(r"[A-Z0-9]+(-[A-Z0-9]+)+", each):
            raise ConfigurationError(
                f"data_centers must be ids of data centres, not {value!r}: for example ['EU-RO-1', 'US-KS-2']"
            )
    if not given:
        raise ConfigurationError("data_centers is empty: leave it out for all of them")
    return given


def _endpoint() -> str:
    return os.environ.get("SKYWARD_RUNPOD_ENDPOINT") or ENDPOINT


def _address(value: object) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        host = "" if parts is None or parts.username or parts.query or parts.fragment else parts.hostname or ""
    except ValueError:
        parts, host = None, ""
    if not isinstance(value, str) or parts is None or not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"endpoint must be an address, not {value!r}: write for example {ENDPOINT!r}")
    if parts.scheme == "http" and not _is_near(host):
        raise ConfigurationError(f"endpoint {value!r} would have the key sent in the clear: write it with https://")
    return value.rstrip("/")


def _is_near(host: str) -> bool:
    """Whether it is this machine, or in a network of its own, as what stands in for RunPod in tests."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


@frozen(kw_only=True)
class RunPod:
    """Nodes are pods of RunPod, on demand, with GPUs or without.

    The key is that of ``RUNPOD_API_KEY``, else of ``~/.runpod/config.toml``. Pods are reached by SSH at a public port
    that RunPod gives them, never through its proxy. RunPod sells nothing on spot any more.

    Attributes:
        cloud: ``"secure"`` for RunPod's own data centres, ``"community"`` for other people's machines, ``"any"``.
        data_centers: ids of the data centres where pods may be, such as ``"EU-RO-1"``; ``None`` for all.
        image: the image that pods run, with an SSH server; ``None`` for RunPod's own Ubuntu 24.04, with CUDA 12.8 on
            NVIDIA GPUs. AMD's GPUs are offered with an image of your own alone.
        min_cuda: the lowest CUDA version that the host's driver must know, such as ``"12.4"``; ``None`` for 12.8 with
            the image of RunPod's own, and for any with another.
        disk_gb: size of the container's disk, in GB; ``None`` for 50, and less on small CPU pods, which get 10 GB for
            each virtual CPU at most.
        network_volume: id of a network volume to mount on every pod; it is never made or deleted. Its data centre must
            be among ``data_centers``.
        mount_path: where that is mounted.
        registry: id of the login, as stored at RunPod, for an image of a private registry.
        global_networking: whether the pods of a pool get private addresses by which they reach each other. It takes
            NVIDIA GPUs, and the data centres that have it are taken alone.
        profile: the section of ``~/.runpod/config.toml`` whose key is used, which then goes before the variable;
            ``None`` for the variable, or the section ``default`` where that is not set.
        endpoint: address of RunPod's interface; that of ``SKYWARD_RUNPOD_ENDPOINT`` by default, else RunPod's own.
    """

    name: ClassVar[str] = "RunPod"

    cloud: Literal["secure", "community", "any"] = field(default="secure", validator=_is_cloud)
    data_centers: tuple[str, ...] | None = field(default=None, converter=_centers)
    image: str | None = field(
        default=None, validator=is_text(r"[\w./:@-]+", "the name of an image", "runpod/base:1.0.2-ubuntu2404")
    )
    min_cuda: str | None = field(default=None, validator=is_text(r"\d+\.\d+", "a version of CUDA", "12.4"))
    disk_gb: int | None = field(default=None, validator=is_number("a number of GB", 1, _LARGEST, whole=True))
    network_volume: str | None = field(
        default=None, validator=is_text(r"[\w-]+", "the id of a network volume", "agv6w2qcg7")
    )
    mount_path: str = field(
        default="/workspace", validator=is_text(r"(/[\w.-]+)+", "the path of a folder", "/workspace")
    )
    registry: str | None = field(default=None, validator=is_text(r"[\w-]+", "the id of a login", "clzdaifot0001"))
    global_networking: bool = field(default=False, validator=is_truth)
    profile: str | None = field(default=None, validator=is_text(r"\S(.*\S)?", "the name of a profile", "default"))
    endpoint: str = field(factory=_endpoint, converter=_address)

    @property
    def capabilities(self) -> Capabilities:
        """What pods can do; a private network is there where it was asked for."""
        return Capabilities(
            spot=False,
            volumes=False,
            private_network=self.global_networking,
            default_lease=600.0,
            ports=True,
            user_data=True,
            tags=True,
            self_termination=True,
        )

    async def open(self, identity: PoolIdentity, /) -> RunPodSession:
        """Find the key and see that RunPod knows it. Nothing is created.

        Raises:
            AuthenticationFailed: there is no key, or it is refused.
            Transient: RunPod cannot be reached.
        """
        from skyward_runpod._api import Api
        from skyward_runpod._session import RunPodSession

        api = Api.of(self)
        try:
            await api.check()
        except BaseException:
            await api.rest.aclose()
            raise
        return RunPodSession(self, identity, api)

    async def check(self) -> Sequence[Finding]:
        """Look at the key, the data centres, the volume and what is in stock, for ``skyward doctor``.

        Raises:
            ProviderError: as of ``open``.
        """
        from skyward_runpod._api import Api
        from skyward_runpod._doctor import examine

        api = Api.of(self)
        try:
            return await examine(api, self)
        finally:
            await api.rest.aclose()
