"""Where a machine's SSH server is, and how it and its client know each other."""

from __future__ import annotations

from attrs import field, frozen

from skyward._ssh.keys import KeyPair

__all__ = ["Address"]


@frozen(kw_only=True)
class Address:
    """A machine's SSH server.

    Attributes:
        host: name or address; a ``Host`` of the user's configuration too.
        port: ``None`` for the configuration's, else 22.
        username: ``None`` for the configuration's, else the user's own.
        host_key: the public key that the machine was given at its first boot, ``ssh-ed25519 AAAA...``; ``None`` where
            that is not possible: then the key of the first contact counts from there on.
        key: the pool's key pair, which lets the client in; ``None`` where the user's own keys and agent do.
        config: the user's configuration files; ``None`` for ``~/.ssh/config``.
    """

    host: str
    port: int | None = None
    username: str | None = None
    host_key: str | None = None
    key: KeyPair | None = field(default=None, repr=False)
    config: tuple[str, ...] | None = None

    def __str__(self) -> str:
        user = "" if self.username is None else f"{self.username}@"
        return f"{user}{self.host}" + ("" if self.port in (None, 22) else f":{self.port}")
