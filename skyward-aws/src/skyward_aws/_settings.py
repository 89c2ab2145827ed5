"""The provider's settings."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import field, frozen

from skyward import ConfigurationError
from skyward.spi import Capabilities, Finding, PoolIdentity, is_number, is_text, is_truth

if TYPE_CHECKING:
    from attrs import Attribute

    from skyward_aws._session import AWSSession

__all__ = ["AWS"]

_REGION = r"[a-z]{2,}(-[a-z]+)+-\d+"
_LARGEST = 65_536
"""GiB of a gp3 volume, by https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html."""


def _networks(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    given: Iterable[object] = [value] if isinstance(value, str) else value if isinstance(value, Iterable) else ()
    try:
        networks = tuple(str(ipaddress.ip_network(each)) for each in given if isinstance(each, str))
    except ValueError as error:
        raise ConfigurationError(
            f"ssh_from is {value!r}, and {error}: give networks such as '203.0.113.7/32'"
        ) from None
    if not networks:
        raise ConfigurationError(f"ssh_from must be a network or several, not {value!r}: for example '203.0.113.7/32'")
    return networks


def _regions(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    given = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    for each in given:
        if not isinstance(each, str) or not re.fullmatch(_REGION, each):
            raise ConfigurationError(f"reap_regions must be names of regions, not {value!r}: for example ['eu-west-1']")
    return given


def _is_architecture(settings: AWS, attribute: Attribute[Any], value: object) -> None:
    del settings
    if value not in (None, "x86_64", "arm64"):
        raise ConfigurationError(f"{attribute.name} must be 'x86_64' or 'arm64', not {value!r}: leave it out for both")


@frozen(kw_only=True)
class AWS:
    """Nodes are machines of Amazon EC2, on demand and on spot.

    Credentials are found by boto3's own rules: ``AWS_ACCESS_KEY_ID`` and what goes with it, ``AWS_PROFILE``,
    ``~/.aws``, single sign-on, the role of the machine that this runs on. ``AWS_ENDPOINT_URL`` and the other variables
    of the AWS tools hold too.

    Attributes:
        region: where machines are bought.
        profile: the profile of ``~/.aws`` to use; ``None`` for ``AWS_PROFILE`` or the default one.
        architecture: of the processors, ``"x86_64"`` or ``"arm64"``; ``None`` for ``"x86_64"``, and ``"arm64"`` where
            the machine or the accelerator that is asked for comes with nothing else.
        ami: the image that machines boot, with cloud-init and an SSH server; ``None`` for Ubuntu 24.04, and for
            accelerators AWS's own Ubuntu images with their drivers.
        user: who logs in there.
        disk_gb: size of the root volume, in GiB of 2**30 bytes; an image that needs more gets more. It is encrypted,
            and deleted with its machine.
        subnet: where machines are put; ``None`` for the subnets of the default VPC, so for every zone.
        security_group: what guards them; ``None`` for one that the pool makes, and that lets in SSH from ``ssh_from``
            and everything from the pool's other nodes.
        ssh_from: the networks, as in ``"203.0.113.7/32"``, from which the nodes may be reached; ``None`` for the
            address under which this machine is seen by ``checkip.amazonaws.com``. Not with ``use_ssm``.
        use_ssm: whether nodes are reached through Session Manager alone, so that no port of theirs is open. Needs AWS's
            session-manager-plugin on this machine, and ``instance_profile`` with the policy
            AmazonSSMManagedInstanceCore in its role, or Default Host Management Configuration in the region. Without,
            that way is tried where the SSH port stays out of reach for 45 s.
        public_ip: whether the nodes get public addresses. Without, they are reached by their private ones.
        instance_profile: name of the instance profile whose role the machines have; ``None`` for no role.
        reap_regions: where to look for what dead clients have left behind, beside ``region``; ``None`` for every region
            that is enabled for the account.
    """

    name: ClassVar[str] = "AWS"
    capabilities: ClassVar[Capabilities] = Capabilities(
        spot=True,
        volumes=True,
        private_network=True,
        alternatives=True,
        default_lease=600.0,
        user_data=True,
        preemption_notice=True,
    )

    region: str = field(default="us-east-1", validator=is_text(_REGION, "the name of a region", "us-east-1"))
    profile: str | None = field(default=None, validator=is_text(r"\S(.*\S)?", "the name of a profile", "default"))
    architecture: Literal["x86_64", "arm64"] | None = field(default=None, validator=_is_architecture)
    ami: str | None = field(
        default=None, validator=is_text(r"ami-[0-9a-f]+", "the id of an image", "ami-0abcdef1234567890")
    )
    user: str = field(default="ubuntu", validator=is_text(r"[a-z_][a-z0-9_-]*", "the name of a user", "ubuntu"))
    disk_gb: int = field(default=64, validator=is_number("a number of GiB", 1, _LARGEST, whole=True))
    subnet: str | None = field(
        default=None, validator=is_text(r"subnet-[0-9a-f]+", "the id of a subnet", "subnet-0abcdef1234567890")
    )
    security_group: str | None = field(
        default=None, validator=is_text(r"sg-[0-9a-f]+", "the id of a security group", "sg-0abcdef1234567890")
    )
    ssh_from: tuple[str, ...] | None = field(default=None, converter=_networks)
    use_ssm: bool = field(default=False, validator=is_truth)
    public_ip: bool = field(default=True, validator=is_truth)
    instance_profile: str | None = field(
        default=None, validator=is_text(r"[\w+=,.@-]+", "the name of an instance profile", "training")
    )
    reap_regions: tuple[str, ...] | None = field(default=None, converter=_regions)

    def __attrs_post_init__(self) -> None:
        if self.use_ssm and self.ssh_from is not None:
            raise ConfigurationError(
                f"use_ssm opens no port, and ssh_from={self.ssh_from!r} would be let in by one: leave out one of them"
            )

    @property
    def asks_for_address(self) -> bool:
        """Whether it must be found out under which address this machine is seen."""
        return self.security_group is None and self.ssh_from is None and not self.use_ssm

    async def open(self, identity: PoolIdentity, /) -> AWSSession:
        """Load boto3 and see that AWS knows the credentials. Nothing is created before the first launch.

        Raises:
            AuthenticationFailed: there are no credentials, they are refused, or the profile does not exist.
            Unavailable: there is no such region; or ``use_ssm`` lacks its plugin or a role.
            Transient: AWS cannot be reached.
        """
        from skyward_aws._api import Api
        from skyward_aws._session import AWSSession
        from skyward_aws._ssm import Tunnels

        api = await Api.open(self.region, self.profile)
        tunnels = Tunnels(api, self)
        if self.use_ssm:
            try:
                await tunnels.check()
            except BaseException:
                await api.close()
                raise
        return AWSSession(self, identity, api, tunnels)

    async def check(self) -> Sequence[Finding]:
        """Look at credentials, permissions, the image, the network and prices, for ``skyward doctor``.

        Raises:
            ProviderError: as of ``open``.
        """
        from skyward_aws._api import Api
        from skyward_aws._doctor import examine

        api = await Api.open(self.region, self.profile)
        try:
            return await examine(api, self)
        finally:
            await api.close()
