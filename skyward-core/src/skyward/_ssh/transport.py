"""The road to a machine over SSH: made ready by one script, talked to over channels to its Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence

import asyncssh

from skyward import _discovery, _payload
from skyward._asking import persistently
from skyward._concurrency import together
from skyward._guest_loop import on_loop
from skyward._ssh import start
from skyward._ssh.connect import Connection, Denied, Hopeless
from skyward._ssh.lane import Lane, open_lane
from skyward._ssh.link import WINDOW, ChannelLink
from skyward._ssh.progress import Said
from skyward._ssh.remote import run, upload
from skyward._ssh.ways import Ways
from skyward._surroundings import Surroundings, client_surroundings
from skyward.errors import BootstrapError, NodeLost, ProviderError
from skyward.model.bootstrap import Step
from skyward.model.image import Image
from skyward.model.ssh import SshAddress, SshProxy
from skyward.model.volumes import SECRETS, Mount, secrets_file, step
from skyward.spi.provider import PoolIdentity
from skyward.spi.transport import Interpreter, Link, PhaseReport, Receiver, Wire
from skyward.worker.protocol import Kind, encode

__all__ = ["SshTransport"]

_BOOT_PATIENCE = 300.0
"""Seconds from a provider's word that a machine runs to its SSH server's first answer."""
_LOGIN_PATIENCE = 60.0
"""Seconds that a machine which answers may take until it knows the pool's key."""
_ATTEMPTS = 5
"""Runs of the script before a connection that keeps dropping is taken for a failure."""
_DRAIN = 2.0
"""Seconds that the last words to a node may take to go out before its connection is closed."""


class SshTransport:
    """Reaches one machine through its SSH server: what a session's ``transport`` returns for such machines.

    The machine needs nothing but that server and ``/bin/sh``. It is sent skyward and the packages of the active
    plugins, and the client's proxies, package indexes and certificates hold there too (``client_surroundings``). A
    connection that drops is made again.

    Args:
        name: names the node on the machine; of letters, digits and hyphens.
        address: where its SSH server is, and what it and the client know of each other.
        identity: the pool's, for the supervisor's lease, deadline and token.
        wire: the pool's own thread, on whose loop the connection is.
        packages: further import packages that travel along: what a plugin's own package imports there beside skyward
            and what skyward needs.
        root: the folder there for everything that is installed; ``None`` for ``/opt/skyward``, or ``~/.skyward`` where
            the user is not root.
        folder: the node's own folder there, which its supervisor makes and removes; ``None`` for one below ``root``.
            Its sockets' paths must have less than 108 bytes.
        variables: what else the node and its bootstrap find in their environment, where the client's surroundings do
            not say otherwise: what whoever logs in there does not get by itself, as of a container's image.
        ended: asks the provider whether the machine has ended. Without it, one that cannot be reached is tried for as
            long as it might come back.
        proxy: asks the provider for the program that leads to the machine's SSH server, anew for each connection. What
            it raises is as of a session; after ``AuthenticationFailed`` it is not asked again. The user's ProxyJump and
            ProxyCommand for the address do not hold for such a connection.
        proxy_after: seconds for which the machine is tried without that program before; then both ways are tried in
            turn, and the one that works is kept. 0 for the program alone.
        mounts: asks the provider for the volumes of the pool, with credentials that are good now, whenever the machine
            is made ready. The credentials go into a file there that nobody else can read.
    """

    def __init__(
        self,
        name: str,
        address: SshAddress,
        identity: PoolIdentity,
        wire: Wire,
        *,
        packages: Sequence[str] = (),
        root: str | None = None,
        folder: str | None = None,
        variables: Mapping[str, str] | None = None,
        ended: Callable[[], Awaitable[bool]] | None = None,
        proxy: Callable[[], Awaitable[SshProxy]] | None = None,
        proxy_after: float = 0.0,
        mounts: Callable[[], Awaitable[Sequence[Mount]]] | None = None,
    ) -> None:
        self._name = name
        self._identity = identity
        self._wire = wire
        self._packages = tuple(packages)
        self._root = root or ""
        self._folder = folder
        self._variables = dict(variables or {})
        self._ended = ended
        self._mounts = mounts
        self._ways = Ways(address, None if proxy is None else lambda: self._at_home(proxy), proxy_after)
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._lane: Lane | None = None
        self._links: set[ChannelLink] = set()
        self._greeting = b"".join(encode(Kind.HELLO, raw_head=identity.token))
        self._control: ChannelLink | None = None  # a channel that nobody has asked for yet
        self._served = False
        self._closed = False
        self._home: asyncio.AbstractEventLoop | None = None  # the pool's, on which its provider is asked

    # making it ready

    async def bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step] = (), /) -> Interpreter:
        """Run the image's script there and start the supervisor. A connection that drops meanwhile is made again."""
        self._home = asyncio.get_running_loop()
        return await self._wire.run(self._bootstrap(image, report, steps))

    async def _bootstrap(self, image: Image, report: PhaseReport, steps: Sequence[Step]) -> Interpreter:
        client = client_surroundings()
        said = Said(image, report, client.secrets)
        try:
            await self._first_contact()
            await persistently(
                lambda: self._make_ready(image, steps, said, client),
                on=ConnectionError,
                attempts=_ATTEMPTS,
                longest=5,
            )
        except Hopeless as error:
            raise BootstrapError(f"{self._name} could not be made ready: {error}", phase=said.phase) from error
        except ConnectionError as error:
            raise ConnectionError(f"{self._name} cannot be reached, in the phase {said.phase}: {error}") from error
        return Interpreter()  # the supervisor was started under the right one

    async def _first_contact(self) -> None:
        """Wait until the machine lets this client in."""
        loop = asyncio.get_running_loop()
        denied_at: list[float] = []

        async def attempt() -> None:
            try:
                await self._connected()
            except Denied as error:
                denied_at.append(loop.time())
                if loop.time() - denied_at[0] >= _LOGIN_PATIENCE:
                    raise Hopeless(str(error)) from error
                raise

        await persistently(attempt, on=ConnectionError, patience=_BOOT_PATIENCE, first=0.25, longest=4)

    async def _make_ready(self, image: Image, steps: Sequence[Step], said: Said, client: Surroundings) -> None:
        ssh = (await self._connected()).ssh
        answers = await self._ask(start.ASK, {"SKYWARD_ROOT": self._root})
        self._root = answers["root"]
        if self._folder is None:
            self._folder = f"{self._root}/run/{self._name}"
        archive, checksum = await asyncio.to_thread(_archive, self._packages)
        sent: dict[str, bytes] = {} if answers.get("payload") == checksum else {"payload.tar.gz": archive}
        if client.certificates is not None:
            sent["certificates.pem"] = client.certificates
        if mounts := () if self._mounts is None else await self._at_home(self._mounts):
            said.hide(secret for each in mounts if each.credentials for secret in each.credentials.secrets)
            sent[SECRETS] = secrets_file(mounts)
            steps = (step(mounts), *steps)
        await together(self._put(ssh, content, name) for name, content in sent.items())
        variables = {
            **image.install_variables({**self._variables, **client.environment(f"{self._root}/certificates.pem")}),
            "SKYWARD_ROOT": self._root,
            "SKYWARD_SETTINGS": start.settings(self._identity, self._folder),
        }
        status = await run(ssh, image.bootstrap(steps=steps) + start.START, variables, said.line)
        if status:
            raise said.failure(self._name, status)
        await self._try_out()

    async def _put(self, ssh: asyncssh.SSHClientConnection, content: bytes, name: str) -> None:
        try:
            await upload(ssh, content, f"{self._root}/{name}", private=name == SECRETS)
        except ConnectionError:
            raise
        except OSError as error:
            raise BootstrapError(
                f"{self._name} could not be made ready: {error}",
                phase="skyward",
                command=f"write {self._root}/{name}",
                output=str(error),
            ) from None  # the machine answers: this is no sign that it is lost

    async def _try_out(self) -> None:
        """See that the supervisor, which listens now, can be reached through the server."""
        self._served = True
        connection = await self._connected()
        try:
            if self._control is None:
                await _round_trip(connection)
                self._control = await self._channel(connection, "control")
        except ConnectionError as error:
            if not connection.is_open:
                raise
            await self._raise_if_ended("server")
            raise BootstrapError(
                f"the SSH server of {self._name} does not forward Unix sockets, by which its tasks are reached: set "
                f"`AllowStreamLocalForwarding yes` in its sshd_config ({error})",
                phase="server",
            ) from error

    async def _ask(self, script: str, variables: dict[str, str]) -> dict[str, str]:
        """Run a short script and return its marked lines, by their first words."""
        answers: dict[str, str] = {}
        others: list[str] = []

        def said(line: str) -> None:
            mark, _, rest = line.partition(" ")
            if mark == start.MARK:
                key, _, value = rest.partition(" ")
                answers[key] = f"{answers[key]}\n{value}" if key in answers else value
            else:
                others.append(line)

        status = await run((await self._connected()).ssh, script, variables, said)
        if status:
            words = "\n".join(others[-15:])
            raise BootstrapError(
                f"{self._name} could not be made ready: a first command ended with status {status}\n{words}",
                phase="connect",
                output=words,
            )
        return answers

    # talking to it

    async def open(self, name: str, receiver: Receiver, /) -> Link:
        """Open a channel to a socket of the node, over a new connection if the last one is gone."""
        self._home = asyncio.get_running_loop()
        return await self._wire.run(self._open(name, receiver))

    async def _open(self, name: str, receiver: Receiver) -> Link:
        try:
            link = await self._leading_to(name)
        except Hopeless as error:
            raise NodeLost(str(error)) from error
        link.lead_to(receiver)
        return link

    async def _leading_to(self, name: str) -> ChannelLink:
        """A link to a socket there, with the greeting sent, to which nobody listens yet."""
        connection = await self._connected()
        if name == "control" and self._control is not None:
            control, self._control = self._control, None
            return control
        try:
            return await self._channel(connection, name)
        except ConnectionError:
            if connection.is_open:
                await self._raise_if_ended()
            raise

    async def _channel(self, connection: Connection, name: str) -> ChannelLink:
        link = ChannelLink(self._wire, self._lane, connection.pulse, self._greeting)
        path = f"{self._folder}/{name}.sock"
        try:
            await connection.ssh.create_unix_connection(lambda: link, path, window=WINDOW)
        except (OSError, asyncssh.Error) as error:
            reason = getattr(error, "reason", "") or error
            raise ConnectionError(f"{name} of {self._name} cannot be reached: {reason}") from error
        self._links = {other for other in self._links if not other.ended.is_set()} | {link}
        return link

    async def _raise_if_ended(self, phase: str = "") -> None:
        """Raise if the supervisor there has ended, with its last words: ``NodeLost``, in a phase ``BootstrapError``."""
        answers = await self._ask(start.WHY, {"FOLDER": self._folder or ""})
        if "alive" not in answers:
            words = answers.get("said", "")
            message = f"the supervisor of {self._name} has ended" + (f":\n{words}" if words else "")
            raise BootstrapError(message, phase=phase, output=words) if phase else NodeLost(message)

    async def _connected(self) -> Connection:
        """The connection, made anew if it is gone."""
        async with self._connecting:
            if self._closed:
                raise Hopeless(f"the road to {self._name} is closed")
            connection = self._connection
            if connection is None or not connection.is_open:
                if connection is not None:
                    self._connection = None
                    await connection.close()
                connection = await self._connect()
                self._lane = open_lane(connection.ssh, self._wire) if connection.is_direct else None
                await self._open_control(connection)
                self._connection = connection
            return connection

    async def _connect(self) -> Connection:
        try:
            return await self._ways.connect()
        except ConnectionError as error:
            try:
                ended = self._ended is not None and await self._at_home(self._ended)
            except ProviderError:  # nobody knows
                ended = False
            if ended:
                raise NodeLost(f"the machine of {self._name} has ended: its provider may say why ({error})") from error
            raise

    async def _at_home[T](self, question: Callable[[], Awaitable[T]]) -> T:
        """What the provider says, which belongs to the pool's loop."""

        async def ask() -> T:
            return await question()

        return await on_loop(self._home or asyncio.get_running_loop(), ask())

    async def _open_control(self, connection: Connection) -> None:
        """Open the control channel before any other, for whoever asks for it next.

        sshd carries what is there for several channels in the order of their numbers, and the first one gets the
        lowest. So what the supervisor says before a slot says something comes before it, as it does on a local node:
        lines that a task writes past Python are there before its result.
        """
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._served:
            await _round_trip(connection)
            with contextlib.suppress(ConnectionError):  # whoever opens it next meets it too, and is told why
                self._control = await self._channel(connection, "control")

    async def close(self) -> None:
        """Let what was sent last go out, and close the connection."""
        with contextlib.suppress(ConnectionError):
            await self._wire.run(self._close())

    async def _close(self) -> None:
        self._closed = True
        if self._control is not None:
            self._control.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN):
                for link in list(self._links):
                    await link.ended.wait()
        async with self._connecting:
            connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _round_trip(connection: Connection) -> None:
    """Wait until the server has forgotten the sessions that were closed before: their numbers are free again."""
    with contextlib.suppress(asyncssh.Error, OSError):
        await connection.ssh.open_unix_connection("/nowhere/that/anything/listens")


_archiving = threading.Lock()


def _archive(packages: tuple[str, ...]) -> tuple[bytes, str]:
    """The payload and its SHA-256, made once in a process however many machines ask at once."""
    with _archiving:
        return _archived(tuple(dict.fromkeys((*_of_plugins(), *packages))))


@functools.cache
def _of_plugins() -> tuple[str, ...]:
    return _discovery.packages()


@functools.cache
def _archived(packages: tuple[str, ...]) -> tuple[bytes, str]:
    packed = _payload.archive(packages)
    return packed, hashlib.sha256(packed).hexdigest()
