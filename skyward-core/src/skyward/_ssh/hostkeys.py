"""Whether the machine that answers is the one that is meant. There is no way to turn this off."""

from __future__ import annotations

import os
import shlex

import asyncssh

from skyward._ssh.settings import Settings
from skyward.errors import ConfigurationError
from skyward.model.ssh import SshAddress

__all__ = ["HostKeys"]

type Trusted = tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]


class HostKeys:
    """The host keys that one machine may show, for as long as its pool lives.

    The key that it was given at its first boot; else those of the files that ``UserKnownHostsFile`` names for it, if
    they know it; else the key of the first contact. ``~/.ssh/known_hosts`` is not asked unless it is named: the
    addresses of rented machines are used again and again, with another key each time.
    """

    def __init__(self, address: SshAddress) -> None:
        self._address = address
        self._given: list[asyncssh.SSHKey] = []
        self._pinned: asyncssh.SSHKey | None = None
        if address.host_key is not None:
            try:
                self._given = [asyncssh.import_public_key(address.host_key)]
            except asyncssh.KeyImportError as error:
                raise ConfigurationError(
                    f"the host key of {address} is not a public key: give one line as in ssh_host_ed25519_key.pub"
                ) from error

    def trusted(self, settings: Settings) -> Trusted:
        """Keys, keys of authorities and revoked keys, as asyncssh takes them; all empty before the first contact."""
        if self._given:
            return self._given, [], []
        if self._pinned is not None:
            return [self._pinned], [], []
        files = [path for path in settings.known_hosts or () if os.path.isfile(path)]
        if not files:
            return [], [], []
        try:
            keys, authorities, revoked, *_ = asyncssh.match_known_hosts(
                files, settings.alias or settings.host, "", None if settings.alias else settings.port
            )
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"a file that {settings.where('userknownhostsfile')} names cannot be read: {error}"
            ) from error
        return list(keys), list(authorities), list(revoked)

    def client(self, trusted: Trusted) -> Verifier:
        """What is asked for a key that is not trusted."""
        return Verifier(pins=not any(trusted))

    def met(self, verifier: Verifier) -> None:
        """The connection stands: from here on, the key of its first contact is the only one."""
        if verifier.accepted is not None:
            self._pinned = verifier.accepted

    def refusal(self, trusted: Trusted, verifier: Verifier, settings: Settings) -> str:
        """Why a machine was refused, and what to do."""
        shown = "another one" if verifier.refused is None else verifier.refused.get_fingerprint()
        expected = ", ".join(key.get_fingerprint() for key in trusted[0]) or "one that an authority has signed"
        if self._given:
            whence = "that it was given at its first boot"
        elif self._pinned is not None:
            whence = "that it had at the first contact"
        else:
            whence = "that UserKnownHostsFile has for it"
        return (
            f"{self._address} shows the host key {shown} and not {expected}, {whence}: another machine has taken its "
            "address, or somebody stands between; nothing was sent to it. If the key was changed on purpose, open a "
            "new pool" + ("" if self._given or self._pinned else self._correction(settings))
        )

    def _correction(self, settings: Settings) -> str:
        """What to do about a file of known hosts that knows another key."""
        name = settings.alias or (settings.host if settings.port == 22 else f"[{settings.host}]:{settings.port}")
        [file] = [path for path in settings.known_hosts or () if os.path.isfile(path)][:1]
        return f" after `ssh-keygen -f {shlex.quote(file)} -R {shlex.quote(name)}`{settings.unfollowed}"


class Verifier(asyncssh.SSHClient):
    """Answers for one connection whether a key that is not known yet is accepted."""

    def __init__(self, *, pins: bool) -> None:
        self._pins = pins
        self.accepted: asyncssh.SSHKey | None = None
        self.refused: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Accept the key of a first contact."""
        if self._pins:
            self.accepted = key
        else:
            self.refused = key
        return self._pins
