"""One verified connection to a machine, through whatever hosts the user's configuration puts before it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shlex
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh
from attrs import evolve, frozen

from skyward._ssh.ciphers import cipher_order, is_authenticated
from skyward._ssh.hostkeys import HostKeys
from skyward._ssh.keys import locked
from skyward._ssh.proxy import Program, running
from skyward._ssh.pulse import COUNT, INTERVAL, Pulse
from skyward._ssh.settings import Settings, config_files, settings_of
from skyward.errors import ConfigurationError
from skyward.model.first_boot import WORD
from skyward.model.ssh import SshAddress, SshProxy

__all__ = ["Connection", "Denied", "Hopeless", "connect"]

_CONNECT_TIMEOUT = 15.0
_LOGIN_TIMEOUT = 30.0
_AT_ONCE = 6
"""Handshakes at a time with one server. sshd drops connections at random from its tenth on that has not logged in yet
(``MaxStartups 10:30:100``), which strikes where many machines stand behind one jump host."""
_IGNORE = 2
"""Number of the message that means nothing (RFC 4253, section 11.2)."""

# Where a machine has the switch of `skyward.model.first_boot`, each line that comes renews its lease.
_LISTEN = f'while read -r _; do [ ! -w {WORD} ] || {{ read -r now _ </proc/uptime; echo "${{now%.*}}" >{WORD}; }}; done'

_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = weakref.WeakKeyDictionary()


class Hopeless(Exception):
    """The machine cannot be reached, and another attempt would meet the same."""


class Denied(ConnectionError):
    """The machine does not let this client in, at least not yet."""


@frozen(eq=False)
class Connection:
    """A connection to a machine, its pulse, and the connections to the hosts or the program that it goes through."""

    ssh: asyncssh.SSHClientConnection
    pulse: Pulse
    hops: tuple[asyncssh.SSHClientConnection, ...]
    is_direct: bool
    """Whether it goes over a TCP connection of its own, and not through a host or a program."""
    program: Program | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still stands, as far as this end knows."""
        return not self.ssh.is_closed()

    async def close(self) -> None:
        """Close all of it, and wait for that."""
        await _close(self.ssh, *reversed(self.hops))
        if self.program is not None:
            await self.program.close()


async def _close(*connections: asyncssh.SSHClientConnection) -> None:
    for each in connections:
        each.close()
    for each in connections:
        with contextlib.suppress(OSError, asyncssh.Error):
            await each.wait_closed()


async def connect(address: SshAddress, keys: HostKeys, proxy: SshProxy | None = None) -> Connection:
    """Connect and log in. Host keys are always verified.

    Args:
        address: where the machine is.
        keys: those that it may show.
        proxy: a program that leads there, which goes before what the user's configuration says of the way.

    Raises:
        ConnectionError: it cannot be reached now; ``Denied`` when it is there and does not let this client in.
        Hopeless: its host key is not the one that is expected.
        ConfigurationError: the SSH configuration cannot be used; file and line are named.
    """
    files = config_files(address.config)
    settings = settings_of(address.host, address.port, address.username, files)
    if proxy is not None:
        settings = evolve(settings, jump=(), proxy_command="")
        async with running(proxy) as program:
            return await _connection(address, settings, keys, program=program)
    hops = await _hops(settings, depth=0)
    try:
        return await _connection(address, settings, keys, hops)
    except BaseException:
        await _close(*reversed(hops))
        raise


async def _connection(
    address: SshAddress,
    settings: Settings,
    keys: HostKeys,
    hops: tuple[asyncssh.SSHClientConnection, ...] = (),
    program: Program | None = None,
) -> Connection:
    ssh = await _log_in(address, settings, keys, hops, program)
    try:
        say = await _prepare(ssh)
    except BaseException:
        await _close(ssh)
        raise
    direct = not hops and program is None and not settings.proxy_command
    return Connection(ssh, Pulse(ssh, say), hops, direct, program)


async def _log_in(
    address: SshAddress,
    settings: Settings,
    keys: HostKeys,
    hops: tuple[asyncssh.SSHClientConnection, ...],
    program: Program | None = None,
) -> asyncssh.SSHClientConnection:
    trusted = keys.trusted(settings)
    verifier = keys.client(trusted)
    identities: list[Any] = list(settings.identities or ())
    own = address.key
    if own is not None:
        identities.insert(0, asyncssh.import_private_key(own.private))
    try:
        ssh = await _handshake(
            settings,
            hops,
            known_hosts=trusted,
            client_factory=lambda: verifier,
            client_keys=identities or [],
            # A server counts keys that it does not know, and ends the connection at the sixth: where it knows the
            # pool's key, those of the agent are not tried first.
            **({} if own is None else {"agent_path": None}),
            **({} if program is None else {"sock": program.socket, "proxy_command": None}),
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise Hopeless(keys.refusal(trusted, verifier, settings)) from error
    except asyncssh.PermissionDenied as error:
        raise Denied(_denial(address, settings, error)) from error
    keys.met(verifier)
    return ssh


def _denial(address: SshAddress, settings: Settings, error: Exception) -> str:
    mine = settings.identities
    if address.key is not None:
        tried = "the pool's own key, which the machine should have been given at its first boot"
        mine = mine or ()
    else:
        tried = f"the keys {', '.join(settings.identities or ()) or '~/.ssh/id_*'} and those of the agent"
    return (
        f"{settings.username}@{settings.host}:{settings.port} does not accept {tried} ({error}): see that the machine "
        "has the key, or name another one by IdentityFile in ~/.ssh/config" + locked(mine)
    )


async def _hops(settings: Settings, depth: int) -> tuple[asyncssh.SSHClientConnection, ...]:
    """Connect to the hosts of ``ProxyJump``, each through the one before; the first one's own come before it."""
    hops: tuple[asyncssh.SSHClientConnection, ...] = ()
    if depth > 8:
        raise ConfigurationError(f"{settings.where('proxyjump')}: ProxyJump leads through itself; take that out")
    try:
        for place, hop in enumerate(settings.jump):
            username, host, port = _parts(hop, settings)
            there = settings_of(host, port, username, settings.files)
            if there.known_hosts == ():
                raise ConfigurationError(
                    f"{there.where('userknownhostsfile', 'none')}: UserKnownHostsFile none would leave the jump host "
                    f"{host} unverified, and that is never done: name a file, and connect once with `ssh {host}`"
                )
            if place == 0:
                hops = await _hops(there, depth + 1)
            hops = (*hops, await _jump(host, there, hops))
    except BaseException:
        await _close(*reversed(hops))
        raise
    return hops


async def _jump(
    host: str, settings: Settings, hops: tuple[asyncssh.SSHClientConnection, ...]
) -> asyncssh.SSHClientConnection:
    """Connect to a jump host: one of the user's own, verified by the user's own files."""
    try:
        return await _handshake(settings, hops, client_keys=list(settings.identities or ()))
    except asyncssh.HostKeyNotVerifiable as error:
        raise Hopeless(
            f"the jump host {host} cannot be verified ({error}): connect once with `ssh {host}` and accept its key, "
            f"or look why it has changed{settings.unfollowed}"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise Hopeless(
            f"the jump host {host} does not let {settings.username} in ({error}): see that `ssh {host}` works without "
            f"asking for anything{locked(settings.identities)}"
        ) from error


def _parts(hop: str, settings: Settings) -> tuple[str | None, str, int | None]:
    """``user@host:port`` as its parts."""
    username, _, rest = hop.strip().rpartition("@")
    host, colon, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if not colon:
        host, port = rest, ""
    if port and not port.isdigit():
        raise ConfigurationError(f"{settings.where('proxyjump')}: {hop!r} is not of the form user@host:port")
    return username or None, host.strip("[]"), int(port) if port else None


async def _handshake(
    settings: Settings, hops: tuple[asyncssh.SSHClientConnection, ...], **options: Any
) -> asyncssh.SSHClientConnection:
    """Connect and log in, when it is this one's turn."""
    if not settings.ciphers:
        options["encryption_algs"] = cipher_order()
    attempt = functools.partial(
        asyncssh.connect,
        settings.name,
        settings.port,
        username=settings.username,
        config=list(settings.files) or None,
        tunnel=hops[-1] if hops else None,
        ignore_encrypted=True,
        keepalive_interval=INTERVAL,
        keepalive_count_max=COUNT,
        connect_timeout=_CONNECT_TIMEOUT,
        login_timeout=_LOGIN_TIMEOUT,
        **options,
    )
    through = hops[-1].get_extra_info("peername") if hops else (settings.proxy_command or settings.host, settings.port)
    async with _turn(str(through)):
        return await _translated(attempt(), settings)


def _turn(server: str) -> asyncio.Semaphore:
    of_loop = _turns.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault(server, asyncio.Semaphore(_AT_ONCE))


async def _translated(
    attempt: Awaitable[asyncssh.SSHClientConnection], settings: Settings
) -> asyncssh.SSHClientConnection:
    place = f"{settings.host}:{settings.port}"
    try:
        return await attempt
    except (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied):
        raise
    except FileNotFoundError as error:  # keys that do not exist are left out already
        raise ConfigurationError(
            f"{settings.where('proxycommand')}: the program of ProxyCommand {settings.proxy_command!r} cannot be "
            f"started ({error}): correct it or take it out"
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ConfigurationError(f"a key for {place} cannot be read ({error}): see IdentityFile") from error
    except TimeoutError as error:
        raise ConnectionError(f"{place} does not answer within {_CONNECT_TIMEOUT:g} s") from error
    except (OSError, asyncssh.Error) as error:
        raise ConnectionError(f"{place} cannot be reached: {error}") from error


async def _prepare(ssh: asyncssh.SSHClientConnection) -> Callable[[], None]:
    """Make the connection quick for short messages, and return how the machine's switch is told that its client lives.

    sshd sends small packets at once (TCP_NODELAY) only on a connection that has a session. With forwarded channels
    alone, stalls of 40 ms were measured. So there is one, which ends with the connection, and carries those words.
    """
    try:
        session = await ssh.create_process(
            f"exec /bin/sh -c {shlex.quote(_LISTEN)}",
            request_pty=False,
            stdout=asyncssh.DEVNULL,
            stderr=asyncssh.DEVNULL,
        )
    except asyncssh.Error as error:
        raise ConnectionError(f"the machine gives no session: {error}") from error
    if is_authenticated(str(ssh.get_extra_info("send_cipher"))):
        _send_no_ignores(ssh)

    def say() -> None:
        with contextlib.suppress(OSError):  # it is closing
            session.stdin.write("\n")

    return say


def _send_no_ignores(ssh: asyncssh.SSHClientConnection) -> None:
    """Leave out the empty packet that asyncssh puts before each packet.

    It hides the state of ciphers in CBC mode, which authenticated ciphers do not have. Without it an echo over the
    same connection took 0.8 of the time.
    """
    send: Any = ssh.send_packet

    def send_packet(kind: int, *parts: bytes, **options: Any) -> None:
        if kind != _IGNORE:
            send(kind, *parts, **options)

    ssh.send_packet = send_packet  # type: ignore[method-assign, assignment]
