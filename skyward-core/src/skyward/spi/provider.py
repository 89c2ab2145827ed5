"""The contract of a provider: settings that name it, and a session that sells, describes and ends machines.

A session never waits until a machine is ready: core polls ``describe``, so that time-outs and back-off exist once.
What a session may raise is the closed set below ``ProviderError``; anything else is reported as a bug of the plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from attrs import frozen

from skyward.model.instance import Instance
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.spi.transport import Transport, Wire

__all__ = [
    "Belongings",
    "Capabilities",
    "Checkable",
    "Finding",
    "Forewarned",
    "LaunchRequest",
    "PoolIdentity",
    "Provider",
    "Session",
]


@frozen(kw_only=True)
class Capabilities:
    """What a provider can do; conformance tests open and close by these.

    Attributes:
        spot: sells interruptible machines.
        volumes: mounts the volumes of ``ComputeSpec.volumes`` on its machines.
        private_network: the nodes of a pool reach each other by ``Instance.private_ip``.
        alternatives: ``launch`` tries ``LaunchRequest.alternatives`` in the same call.
        default_lease: seconds without a word from the client after which a machine ends itself.
        launch_limit: seconds that ``launch`` may take before it is cut off and the next offer is tried. More than the
            default is for what happens once and takes long, such as making an image.
        tags: machines bear their pool, owner, client and deadline at the vendor's, and ``extend`` can change it there.
            Without, they bear a name at least by which ``list_owned`` finds those of a pool.
        user_data: a machine runs a script of ours at its first boot.
        ports: SSH stands behind a port of the vendor's choosing, which ``Instance.details["port"]`` tells of a machine
            that runs. Without, it is port 22.
        preemption_notice: spot machines can know beforehand that they will be taken back; ``lookout`` of the session
            gives the program that hears of it.
        self_termination: a machine can end itself at its deadline, and when its lease has run out, in a way that is
            billed as ended. Without, the worker ends, the machine costs on, and ``skyward reap`` is what ends machines
            whose client was killed; a pool says so, once.
        client_environment: machines run tasks in the client's own environment where the image asks for no packages.
            What integrations need of packages is then left out where the client has it.
    """

    spot: bool = False
    volumes: bool = False
    private_network: bool = True
    alternatives: bool = False
    default_lease: float | None = 600
    launch_limit: float = 300
    tags: bool = True
    user_data: bool = False
    ports: bool = False
    preemption_notice: bool = False
    self_termination: bool = True
    client_environment: bool = False


@frozen(kw_only=True)
class PoolIdentity:
    """What every resource of a pool is tagged with, so that it can be found without any local state.

    Attributes:
        pool_id: unique name of the pool.
        owner: who started it, ``user@host``.
        deadline: seconds since the epoch at which its machines end themselves; ``None`` for no limit.
        lease: seconds without a word from the client after which they do; ``None`` for no lease.
        token: secret that a client must show to a node. Never a tag, never logged.
        client: the process that started it, in letters, digits and dashes; at most 63 of them.
    """

    pool_id: str
    owner: str
    deadline: float | None
    lease: float | None
    token: bytes
    client: str = ""

    def __repr__(self) -> str:
        return f"PoolIdentity(pool_id={self.pool_id!r}, owner={self.owner!r}, deadline={self.deadline!r})"


@frozen(kw_only=True)
class LaunchRequest:
    """An order for machines of one offer.

    Attributes:
        offer: what to launch, one of the session's own.
        nodes: the index of each machine in the pool; their number is the number of machines.
        spec: the pool's request.
        alternatives: offers of the same session and market that may be launched in the place of ``offer``, in the order
            in which they are wanted; for sessions whose provider declares ``Capabilities.alternatives``, of which the
            answer counts for all of them.
        max_price: what a machine may cost at most, in US dollars for an hour, where the pool has a limit; ``None`` for
            none. No offer of the request has a higher ``price``. It binds sessions whose offers have a
            ``highest_price``, and is to be handed on to a vendor that takes such a limit.
    """

    offer: Offer
    nodes: tuple[int, ...]
    spec: ComputeSpec
    alternatives: tuple[Offer, ...] = ()
    max_price: float | None = None


class Session(Protocol):
    """An open account with a provider, for one pool.

    Core calls it from one event loop and never twice at a time with ``launch``. Every coroutine may be cancelled. Each
    may raise the closed set: ``Unavailable`` and ``QuotaExceeded`` turn to the next offer, ``AuthenticationFailed``
    stops the pool, ``Transient`` is tried again after ``retry_after``. Anything else is reported as a bug of the
    plugin, with its name and version, and its offers are left aside.
    """

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """Return what meets the request, in the provider's order of preference; empty when nothing does."""
        ...

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        """Start machines and return them, ready or not. Fewer than asked for is allowed; none is ``Unavailable``.

        ``Instance.node`` of each is one of ``request.nodes``, each at most once. ``Instance.offer`` says which of the
        offers of the request a machine was bought as; its price may be more exact than it was; without it, it is
        ``request.offer``. When it is unclear whether a machine
        was created, it is looked up by its tags before anything else is done: ``Transient`` and the other errors mean
        that this call has created none. What it did create unnoticed, core looks for with ``list_owned`` and ends.
        """
        ...

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """Return the present state of each id; one that the provider does not know is left out or ``GONE``."""
        ...

    async def terminate(self, ids: Sequence[str], /) -> None:
        """End machines for good, with all that came with them. Idempotent; an unknown id succeeds."""
        ...

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        """Move the deadline of these machines, and of those that the session launches from now on.

        ``deadline``, in seconds since the epoch, takes the place of that of the ``PoolIdentity``; it may be earlier as
        well as later. From now on ``describe`` and ``list_owned`` tell it, those of other sessions and other clients
        too, so that nobody takes the machines for left over. What the provider itself has set on them at their first
        boot to end them is moved with it; the worker's own deadline is moved by core, which makes sure that no machine
        lives longer than its tag says. Idempotent; an unknown id succeeds, and no id means those to come alone.
        """
        ...

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Find machines by their tags, of this pool or of all pools of this owner, without any local state.

        Core asks when a pool ends, to prove that nothing is left, and when it looks for what dead clients left behind.
        ``pool_id``, ``deadline``, ``owner`` and ``client`` of each are, from its tags, those of the ``PoolIdentity``
        that it was launched with, or the deadline that ``extend`` has set: by them core tells whose client is dead.
        Machines of other owners may be among them. Those that are ended are left out or ``GONE``.
        """
        ...

    def transport(self, instance: Instance, wire: Wire, /) -> Transport:
        """Return the road to a running machine. ``wire`` serves a transport that ends in local sockets."""
        ...

    async def close(self) -> None:
        """Release clients and local files. Machines are not touched."""
        ...


@runtime_checkable
class Belongings(Protocol):
    """A session whose pools have more than machines, such as keys and networks; optional for a `Session`."""

    async def list_left(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """Return what pools have left beside machines, by its tags: of one pool, or of all of this account.

        Each thing is told as an `Instance` with the identity of its pool and an id that no machine has; ``terminate``
        removes it and ``describe`` knows it, as they do machines. A session removes what its own pool has with the
        last machine. What pools have whose machines are there is left out: that is no time to remove it.

        ``skyward reap`` asks, and so does a pool after a client that has died. Nothing is changed.

        Raises:
            ProviderError: as of ``list_owned``.
        """
        ...


@runtime_checkable
class Forewarned(Protocol):
    """A session whose spot machines can know beforehand that they will be taken back; optional for a `Session`."""

    def lookout(self, instance: Instance, /) -> str | None:
        """Return the program that looks out for that word on a machine; ``None`` for a machine without one.

        It is Python source of a whole file, which each spot machine runs beside its tasks, as the same user and under
        the Python of its slots, with the standard library alone; of 3.12 and later. It runs for as long as the machine
        does, asks as often as the vendor wants to be asked, and prints a line of JSON when the word has come, such as
        ``{"reason": "the vendor takes it back", "seconds": 118.5}``, where ``seconds`` from then on the machine ends,
        or ``null``. The first such line becomes ``InstancePreempted``; the node ends what it runs, if it can, is given
        nothing more, and is replaced. A program that ends without a word is started again. No secret belongs into it.
        """
        ...


@runtime_checkable
class Provider(Protocol):
    """A provider's settings: a hashable, picklable value that users write, such as ``sky.Local()``."""

    @property
    def name(self) -> str:
        """What it is called, to users and in the logs; most have it as a ``ClassVar``."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; most have this as a ``ClassVar``, too."""
        ...

    async def open(self, identity: PoolIdentity, /) -> Session:
        """Open a session for one pool. SDKs are imported here, and credentials checked. Nothing is created.

        Raises:
            AuthenticationFailed: naming the variable or file to set.
            ProviderError: as of a session.
        """
        ...


class Opens(Protocol):
    """What checkers ask of a `Provider`: to pyright, a name that its class has as a ``ClassVar`` is not that of one."""

    async def open(self, identity: PoolIdentity, /) -> Session:
        """As of `Provider`."""
        ...


@frozen(kw_only=True)
class Finding:
    """One thing that a provider has looked at for ``skyward doctor``, and what it found.

    Attributes:
        subject: what was looked at, in a few words: ``"credentials"``, ``"permission ec2:CreateFleet"``.
        level: ``"ok"``; ``"warning"`` where pools work, and not as well as they could; ``"problem"`` where they fail.
        detail: what was found, in a line, without secrets: ``"account 1234 as user ada"``.
        remedy: what to do about it, in a line; empty only where all is well.
    """

    subject: str
    level: Literal["ok", "warning", "problem"] = "ok"
    detail: str = ""
    remedy: str = ""


@runtime_checkable
class Checkable(Protocol):
    """Settings that can tell more about themselves than whether a session opens; optional for a `Provider`."""

    async def check(self) -> Sequence[Finding]:
        """Look at what pools will need: credentials, permissions, quotas, programs on this machine.

        ``skyward doctor`` calls it, besides opening a session, asking for offers and listing machines. It creates and
        changes nothing, at the vendor's or here; a vendor's dry runs are what permissions are tried by. Whatever it
        comes to know it returns, so that the user sees all that is wrong at once. It may take a minute.

        Raises:
            ProviderError: where nothing can be looked at, such as ``AuthenticationFailed``; it is told as a problem.
        """
        ...
