"""What a machine bears where a vendor has one field for it: whose it is and until when, in one line. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping

from attrs import field, frozen

from skyward.errors import ConfigurationError
from skyward.model.instance import Instance, InstanceState
from skyward.model.offer import Offer
from skyward.spi.provider import PoolIdentity

__all__ = ["LABEL", "MachineLabel"]

LABEL = "label"
"""In ``Instance.details``: the text of the machine's label."""
_FORM = "skyward:1"
_LINE = re.compile(
    r"(skyward:1:([a-z0-9_-]+):(0|[1-9][0-9]{0,8}):([0-9a-f]{8}):([0-9]{0,15}):([0-9]{0,15}):([a-z0-9_-]*):([a-z0-9_-]*))"
    r":([0-9a-f]{8})"
)
_PLAIN = re.compile(r"[a-z0-9-]")
_NAME = 63


def _mark() -> str:
    return secrets.token_hex(4)


@frozen(kw_only=True)
class MachineLabel:
    """Whose a machine is.

    Attributes:
        pool_id: of its pool.
        node: its index there.
        owner: who started the pool, ``user@host``; the label may have its beginning only.
        client: the process that did.
        deadline: seconds since the epoch at which it ends; ``None`` for no limit. To the millisecond.
        lease: seconds without a word from the client after which it ends; ``None`` for no lease. To the millisecond.
        mark: eight hexadecimal digits that no other machine has, by which it is found after an unclear answer.
    """

    pool_id: str
    node: int
    owner: str = ""
    client: str = ""
    deadline: float | None = None
    lease: float | None = None
    mark: str = field(factory=_mark)

    @classmethod
    def of(cls, identity: PoolIdentity, node: int) -> MachineLabel:
        """A new one for a machine of a pool."""
        return cls(
            pool_id=identity.pool_id,
            node=node,
            owner=identity.owner,
            client=identity.client,
            deadline=None if identity.deadline is None else round(identity.deadline, 3),
            lease=None if identity.lease is None else round(identity.lease, 3),
        )

    @property
    def name(self) -> str:
        """A name for people and for DNS, ``skyward-<pool>-<node>-<mark>``: at most 63 characters."""
        tail = f"-{self.node}-{self.mark}"
        pool = re.sub(r"[^a-z0-9]+", "-", self.pool_id.lower()).strip("-")
        return f"skyward-{pool[: _NAME - len('skyward-') - len(tail)].strip('-') or 'pool'}{tail}"

    def text(self, limit: int = 255) -> str:
        """The label in one line of digits, small letters, ``-``, ``_`` and ``:``, fit for a tag or a name.

        Args:
            limit: characters that the vendor takes; if need be the owner is cut.

        Raises:
            ConfigurationError: it is longer even without the owner.
        """
        facts = (self.pool_id, str(self.node), self.mark, _moment(self.deadline), _moment(self.lease), self.client)
        line = ":".join((_FORM, *(_written(fact) for fact in facts), ""))
        room = limit - len(line) - len(":") - _CHECK
        if room < 0:
            raise ConfigurationError(
                f"a label of {len(line) + 1 + _CHECK} characters is needed for a machine of pool {self.pool_id}, and "
                f"only {limit} are taken: give the pool a shorter id"
            )
        line += _written(self.owner, room)
        return f"{line}:{_check(line)}"

    @classmethod
    def read(cls, *texts: str | None) -> MachineLabel | None:
        """The label that one of these is, such as a machine's tags; ``None`` where none is.

        A label is taken whole or not at all: what was cut off, changed by hand, or only begins like one is none. So a
        stranger's machine is not taken for a pool's, whatever it is called.
        """
        for text in texts:
            found = None if text is None else _LINE.fullmatch(text)
            if found is None or _check(found[1]) != found[9]:
                continue
            try:
                pool, client, owner = (_spelled(found[index]) for index in (2, 7, 8))
            except ValueError:
                continue
            deadline, lease = (int(found[index]) / 1000 if found[index] else None for index in (5, 6))
            return cls(
                pool_id=pool,
                node=int(found[3]),
                mark=found[4],
                deadline=deadline,
                lease=lease,
                client=client,
                owner=owner,
            )
        return None

    def instance(
        self,
        id: str,  # noqa: A002  as Instance calls it
        state: InstanceState,
        *,
        ip: str | None = None,
        private_ip: str | None = None,
        offer: Offer | None = None,
        details: Mapping[str, object] | None = None,
    ) -> Instance:
        """The machine that bears this, with the label's text among its details."""
        return Instance(
            id=id,
            state=state,
            pool_id=self.pool_id,
            node=self.node,
            offer=offer,
            ip=ip,
            private_ip=private_ip,
            deadline=self.deadline,
            owner=self.owner,
            client=self.client,
            details={**(details or {}), LABEL: self.text(1000)},
        )


_CHECK = 8


def _check(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:_CHECK]


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else str(max(round(seconds * 1000), 0))


def _written(text: str, limit: int | None = None) -> str:
    """In characters that every vendor takes, small or capital: others as ``_`` and two digits for each byte."""
    parts = [
        each if _PLAIN.fullmatch(each) else "".join(f"_{byte:02x}" for byte in each.encode(errors="replace"))
        for each in text
    ]
    while limit is not None and sum(map(len, parts)) > limit:
        parts.pop()
    return "".join(parts)


def _spelled(text: str) -> str:
    return re.sub(rb"_([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode()).decode()
