"""The provider's settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from skyward import ConfigurationError
from skyward.spi import Capabilities, Finding, PoolIdentity, is_number, is_text, is_truth

if TYPE_CHECKING:
    from skyward_vastai._session import VastAISession

__all__ = ["ENDPOINT", "VastAI"]

ENDPOINT = "https://console.vast.ai"
"""Vast.ai's interface."""
IMAGE = "vastai/base-image:@vastai-automatic-tag"
"""The image that Vast.ai takes where none is named: Ubuntu with the CUDA of the host's driver."""
_LARGEST = 65_536
_DEAREST = 128.0
"""Dollars for an hour, the highest bid that the interface takes."""


def _countries(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    given = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    for each in given:
        if not isinstance(each, str) or not re.fullmatch(r"[A-Za-z]{2}", each):
            raise ConfigurationError(
                f"geolocation must be countries by their two letters, not {value!r}: write for example ['SE', 'NO']"
            )
    if not given:
        raise ConfigurationError("geolocation names no country: write for example ['SE', 'NO'], or leave it out")
    return tuple(dict.fromkeys(str(each).upper() for each in given))


@frozen(kw_only=True)
class VastAI:
    """Nodes are instances of Vast.ai, on machines that others rent out: on demand, and interruptible ones by a bid.

    The key of the account is found in ``VAST_API_KEY``, else where Vast.ai's own command line keeps it:
    ``$XDG_CONFIG_HOME/vastai/vast_api_key`` (``~/.config`` by default) and ``~/.vast_api_key``.

    Attributes:
        geolocation: the countries in which machines may stand, by their two letters; ``None`` for all.
        reliability: of the hosts, at least, as Vast.ai reckons it from 0 to 1.
        verified: whether the hosts must be verified by Vast.ai.
        datacenter: whether the hosts must be in data centres.
        cuda: the version of CUDA that the host's driver must serve at least, such as 12.4; ``None`` for any.
        max_price: what a machine may cost at most, in dollars for an hour, disk included; ``None`` for no limit.
        bid_margin: what is bid for an interruptible machine, as so many times the lowest bid that wins now; never more
            than the machine costs on demand. What is bid is what is paid.
        image: the Docker image of the nodes: Debian or Ubuntu, with glibc; ``None`` for Vast.ai's own with CUDA.
        disk_gb: size of the disk, in GB; it is paid for.
        endpoint: address of the interface. ``SKYWARD_VASTAI_ENDPOINT`` takes the place of the default.
    """

    name: ClassVar[str] = "VastAI"
    capabilities: ClassVar[Capabilities] = Capabilities(
        spot=True, private_network=False, user_data=True, ports=True, default_lease=600.0
    )

    geolocation: tuple[str, ...] | None = field(default=None, converter=_countries)
    reliability: float = field(default=0.95, validator=is_number("a number", 0, 1))
    verified: bool = field(default=True, validator=is_truth)
    datacenter: bool = field(default=False, validator=is_truth)
    cuda: float | None = field(default=None, validator=is_number("a version", 1, 99))
    max_price: float | None = field(default=None, validator=is_number("a number of dollars", 0.001, 10_000))
    bid_margin: float = field(default=1.1, validator=is_number("a factor", 1, 10))
    image: str | None = field(
        default=None,
        validator=is_text(r"[\w./:@-]{1,256}", "the name of an image", "nvidia/cuda:12.8.1-base-ubuntu24.04"),
    )
    disk_gb: int = field(default=32, validator=is_number("a number of GB", 8, _LARGEST, whole=True))
    endpoint: str = field(default=ENDPOINT, validator=is_text(r"https?://[^\s@]+", "an address", ENDPOINT))

    async def open(self, identity: PoolIdentity, /) -> VastAISession:
        """See that Vast.ai knows the key. Nothing is created before the first launch.

        Raises:
            AuthenticationFailed: there is no key, or it is refused.
            Transient: Vast.ai cannot be reached.
        """
        from skyward_vastai._session import opened

        return await opened(self, identity)

    async def check(self) -> Sequence[Finding]:
        """Look at the key, the credit and the market, for ``skyward doctor``.

        Raises:
            ProviderError: as of ``open``.
        """
        from skyward_vastai._doctor import examine

        return await examine(self)
