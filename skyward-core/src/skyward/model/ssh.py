"""A machine's SSH server as a value: where it is, and how it and its client know each other."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["KeyPair", "SshAddress", "SshProxy"]


@frozen
class KeyPair:
    """An ed25519 key pair, as ``new_key_pair`` makes it.

    Attributes:
        private: in OpenSSH's form, as cloud-init's ``ssh_keys`` and ``ssh -i`` take it. A secret; no ``repr`` shows it.
        public: one line, ``ssh-ed25519 AAAA... comment``, as ``authorized_keys`` and vendors' interfaces take it.
    """

    private: str = field(repr=False)
    public: str


@frozen(kw_only=True)
class SshAddress:
    """A machine's SSH server.

    Attributes:
        host: name or address; a ``Host`` of the user's configuration too.
        port: ``None`` for the configuration's, else 22.
        username: ``None`` for the configuration's, else the user's own.
        host_key: the public key that the machine was given at its first boot, ``ssh-ed25519 AAAA...``; ``None`` where
            that is not possible: then the key of the first contact counts from there on.
        key: the pool's key pair, which lets the client in; ``None`` where the user's own keys and agent do.
        config: the user's configuration files; ``None`` for ``~/.ssh/config``, empty for none.
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


@frozen(kw_only=True)
class SshProxy:
    """A program whose standard input and output lead to a machine's SSH server, as OpenSSH's ``ProxyCommand`` does.

    Attributes:
        command: the program and its arguments, which everybody on this machine can read while it runs.
        environment: variables that it gets beside this process's own. May hold secrets; no ``repr`` shows it.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(factory=dict, repr=False, hash=False)
