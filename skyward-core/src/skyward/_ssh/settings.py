"""What the user's SSH configuration says of one host, and the places where asyncssh reads it otherwise than OpenSSH.

asyncssh stops at an ``IdentityFile`` that does not exist, where OpenSSH tries the next one, and takes
``UserKnownHostsFile none`` for leave to verify nothing. Neither happens here.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncssh
from attrs import evolve, frozen

from skyward.errors import ConfigurationError

__all__ = ["Settings", "config_files", "settings_of"]

_log = logging.getLogger("skyward.ssh")


@frozen(kw_only=True)
class Settings:
    """What holds for one host.

    Attributes:
        name: what it is called in the configuration.
        host, port, username: where the connection goes in the end.
        alias: what it is called in files of known hosts, by ``HostKeyAlias``; empty for its own name.
        files: the configuration that it was read from.
        identities: the private keys named for it that exist; ``None`` when none are named.
        known_hosts: the files named for it by ``UserKnownHostsFile``; ``None`` when none are named.
        jump: what ``ProxyJump`` says, hop by hop.
        proxy_command: what ``ProxyCommand`` says.
        ciphers: whether ``Ciphers`` says something.
    """

    name: str
    host: str
    port: int
    username: str
    alias: str
    files: tuple[str, ...]
    identities: tuple[str, ...] | None
    known_hosts: tuple[str, ...] | None
    jump: tuple[str, ...]
    proxy_command: str
    ciphers: bool

    def where(self, option: str, value: str = "") -> str:
        """File and line of an option, for messages: ``/home/me/.ssh/config, line 3``."""
        return next(_lines(self.files, option, value), self.files[-1] if self.files else "the SSH configuration")

    @property
    def unfollowed(self) -> str:
        """For messages of a refused host key: the line by which OpenSSH would have asked nobody, and empty else."""
        for value in ("no", "off", "accept-new"):
            for place in _lines(self.files, "stricthostkeychecking", value):
                return f" ({place}: StrictHostKeyChecking {value} is not followed, since keys are always verified)"
        return ""


def config_files(files: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The configuration to read: the given files, else ``~/.ssh/config`` if it exists."""
    if files is not None:
        return files
    path = os.path.expanduser("~/.ssh/config")
    return (path,) if os.path.isfile(path) else ()


def settings_of(host: str, port: int | None, username: str | None, files: tuple[str, ...]) -> Settings:
    """Read the configuration for one host. What is given goes before what it says.

    Raises:
        ConfigurationError: it cannot be read; file and line are named.
    """
    given = {name: value for name, value in (("port", port), ("username", username)) if value is not None}
    try:
        options = asyncssh.SSHClientConnectionOptions(
            host=host, config=list(files) or None, client_keys=None, known_hosts=None, agent_path=None, **given
        )
    except asyncssh.ConfigParseError as error:
        path, _, rest = str(error).partition(" line ")
        line, _, reason = rest.partition(": ")
        place = f"{path}, line {line}: {reason}" if reason else str(error)
        raise ConfigurationError(
            f"the SSH configuration cannot be read: {place}; correct that line (times are whole seconds here, without "
            "a unit)"
        ) from error
    except (OSError, ValueError, asyncssh.Error) as error:
        raise ConfigurationError(f"the SSH configuration {', '.join(files)} cannot be used: {error}") from error
    named = options.config.get("IdentityFile")
    known = options.config.get("UserKnownHostsFile")
    tunnel = options.config.get("ProxyJump")
    command = options.config.get("ProxyCommand")
    found = Settings(
        name=host,
        host=options.host,
        port=options.port,
        username=options.username,
        alias=options.host_key_alias or "",
        files=files,
        identities=None,
        known_hosts=None if known is None else _paths(known),
        jump=tuple(tunnel.split(",")) if isinstance(tunnel, str) and tunnel else (),
        proxy_command=str(command) if command else "",
        ciphers=options.config.get("Ciphers") is not None,
    )
    return found if named is None else _with_identities(found, _paths(named))


def _paths(value: object) -> tuple[str, ...]:
    assert isinstance(value, Sequence)
    return tuple(os.path.expanduser(str(each)) for each in value)


def _with_identities(settings: Settings, named: tuple[str, ...]) -> Settings:
    there = tuple(path for path in named if os.path.isfile(path))
    for path in named:
        if path not in there:
            place = settings.where("identityfile", os.path.basename(path))
            _log.warning("%s names the key %s, which does not exist: it is left out", place, path)
    return evolve(settings, identities=there)


def _lines(files: Sequence[str], option: str, value: str, depth: int = 0) -> Iterator[str]:
    """The places where an option stands, with this in its value, in these files and in what they include."""
    for name in files:
        try:
            text = Path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            words = line.replace("=", " ", 1).split(None, 1)
            if len(words) < 2:
                continue
            if words[0].lower() == option and value in words[1]:
                yield f"{name}, line {number}"
            elif words[0].lower() == "include" and depth < 8:
                yield from _lines(_included(words[1]), option, value, depth + 1)


def _included(patterns: str) -> list[str]:
    found: list[str] = []
    for pattern in shlex.split(patterns):
        path = Path(pattern).expanduser()
        base, rest = (path.anchor, path.relative_to(path.anchor)) if path.anchor else ("~/.ssh", path)
        found += map(str, Path(base).expanduser().glob(str(rest)))
    return found
