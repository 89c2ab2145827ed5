"""What DigitalOcean tells of the things of an account, as far as it is needed here. Pure.

Every machine bears one tag, which is its `MachineLabel`; a pool's key has one as its name.
"""

from __future__ import annotations

import math

from attrs import evolve, field, frozen

from skyward.spi import Instance, InstanceState, MachineLabel, PoolIdentity
from skyward_digitalocean._offers import Size

__all__ = [
    "LONGEST",
    "Account",
    "Droplet",
    "Droplets",
    "Key",
    "Keys",
    "Links",
    "Made",
    "MadeKey",
    "OneNetwork",
    "OneTag",
    "Sizes",
    "Tag",
    "Tags",
    "Told",
    "belonging",
    "machine",
    "marks",
]

LONGEST = 255
"""Characters of a tag: letters, digits, ``_``, ``-`` and ``:``. Capital and small letters are the same to it."""

_STATES = {
    "new": InstanceState.PENDING,
    "active": InstanceState.RUNNING,
    "off": InstanceState.GONE,
    "archive": InstanceState.GONE,
}


@frozen
class Network:
    """One address; ``type`` is ``"public"`` or ``"private"``."""

    ip_address: str = ""
    type: str = ""


@frozen
class Networks:
    """A droplet's addresses."""

    v4: list[Network] = field(factory=list)


@frozen
class Region:
    """Where a droplet is."""

    slug: str = ""


@frozen
class Droplet:
    """A droplet: ``status`` is ``"new"``, ``"active"``, ``"off"`` or ``"archive"``."""

    id: int
    name: str
    status: str
    tags: list[str] = field(factory=list)
    size_slug: str = ""
    networks: Networks = field(factory=Networks)
    region: Region = field(factory=Region)

    def address(self, kind: str) -> str | None:
        """Its first address that is ``"public"`` or ``"private"``."""
        return next((each.ip_address for each in self.networks.v4 if each.type == kind and each.ip_address), None)


@frozen
class Key:
    """A public key of the account."""

    id: int
    name: str = ""


@frozen
class Tag:
    """A tag of the account."""

    name: str


@frozen
class Account:
    """The account whose token is used."""

    status: str = ""
    status_message: str = ""
    droplet_limit: int = 0
    email: str = ""


@frozen
class Pages:
    """Where the next page is."""

    next: str = ""


@frozen
class Links:
    """What leads from a page to others."""

    pages: Pages = field(factory=Pages)


@frozen
class Droplets:
    """A page of droplets."""

    droplets: list[Droplet]
    links: Links = field(factory=Links)


@frozen
class Keys:
    """A page of keys."""

    ssh_keys: list[Key]
    links: Links = field(factory=Links)


@frozen
class Tags:
    """A page of tags."""

    tags: list[Tag]
    links: Links = field(factory=Links)


@frozen
class Sizes:
    """A page of sizes."""

    sizes: list[Size]
    links: Links = field(factory=Links)


@frozen
class Made:
    """A droplet, alone."""

    droplet: Droplet


@frozen
class MadeKey:
    """A key, alone."""

    ssh_key: Key


@frozen
class OneTag:
    """A tag, alone."""

    tag: Tag


@frozen
class PrivateNetwork:
    """A VPC, and its region's slug."""

    name: str = ""
    region: str = ""


@frozen
class OneNetwork:
    """A VPC, alone."""

    vpc: PrivateNetwork


@frozen
class Told:
    """An account, alone."""

    account: Account


def marks(droplet: Droplet) -> list[tuple[str, MachineLabel]]:
    """The tags of a droplet that are labels, with what they say; the one that counts first.

    There are two while a deadline is being moved: the later one counts until then, so that nobody takes the droplet for
    left over.
    """
    found = [(tag, label) for tag in droplet.tags if (label := MachineLabel.read(tag)) is not None]
    return sorted(found, key=lambda each: each[1].deadline or math.inf, reverse=True)


def machine(droplet: Droplet, identity: PoolIdentity | None = None) -> Instance | None:
    """A droplet as a machine; ``None`` where it is no pool's.

    One that is off has ended itself, and is billed like one that runs: the base ends it for good.

    DigitalOcean tags a droplet once it is made. Before, it is the pool's of ``identity`` if it bears such a name.
    """
    labels = [label for _, label in marks(droplet)] or [label for label in (_named(droplet, identity),) if label]
    if not labels:
        return None
    state = _STATES.get(droplet.status, InstanceState.PENDING)
    return labels[0].instance(
        str(droplet.id),
        state,
        ip=droplet.address("public"),
        private_ip=droplet.address("private"),
        details={
            "instance_type": droplet.size_slug,
            "name": droplet.name,
            "region": droplet.region.slug,
            "state": droplet.status,
            **({"billed": True} if state is InstanceState.GONE else {}),
        },
    )


def _named(droplet: Droplet, identity: PoolIdentity | None) -> MachineLabel | None:
    if identity is None:
        return None
    rest, _, mark = droplet.name.rpartition("-")
    _, _, node = rest.rpartition("-")
    if not node.isascii() or not node.isdigit():
        return None
    label = evolve(MachineLabel.of(identity, int(node)), mark=mark)
    return label if label.name == droplet.name else None


def belonging(name: str, label: MachineLabel) -> Instance:
    """What a pool has beside machines, told as machines are: ``ssh-key/512`` or ``tag/skyward:1:...``."""
    return label.instance(name, InstanceState.PENDING)
