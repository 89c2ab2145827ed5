"""``Image``: what a node's environment holds, as a value that can be hashed, compared, pickled and shown."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import field, frozen

from skyward.errors import ConfigurationError
from skyward.model.redact import HIDDEN, redact, split_credentials

if TYPE_CHECKING:
    from skyward.model.bootstrap import Step

__all__ = ["Image", "Variables"]

OLDEST_PYTHON = (3, 12)
"""The oldest minor version that the worker runs on."""

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Debian policy 5.6.1 for the name, then apt's own `:architecture` and `=version`.
_APT_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?(?:=[A-Za-z0-9.+:~-]+)?")
# The head of a PEP 508 requirement; what follows (versions, markers, a URL) is left to the resolver.
_REQUIREMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(?:\[[^\]]*\])?\s*(?:$|[<>=!~(;@])")
_REMOTE_URL = re.compile(r"(?:git\+)?(?:https?|ssh)://", re.IGNORECASE)
_LITERAL_CREDENTIALS = re.compile(r"://(?P<userinfo>[^/\s@]+)@")
_PLACEHOLDER = re.compile(r"\$\{[A-Z0-9_]+\}")


class Variables(Mapping[str, str]):
    """An unchangeable, hashable mapping of environment variables whose ``repr`` shows the names only."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {HIDDEN!r}" for name in self._values) + "}"

    def __reduce__(self) -> tuple[type[Variables], tuple[dict[str, str]]]:
        return Variables, (self._values,)


def client_python() -> str:
    """The minor version of this interpreter, as in ``"3.13"``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _python(value: str | None) -> str:
    if value is None:
        return client_python()
    if not isinstance(value, str):
        raise ConfigurationError(f"python must be a string, not {value!r}: write it in quotes, as in python='3.13'")
    found = _VERSION.fullmatch(value)
    if found is None:
        raise ConfigurationError(f"python={value!r} is not a version: write it as '3.13' or '3.13.1'")
    major, minor = int(found[1]), int(found[2])
    if major != OLDEST_PYTHON[0] or (major, minor) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise ConfigurationError(f"python={value!r} cannot run skyward's worker: use {oldest} or a later 3.x")
    return value


def _strings(name: str, values: Iterable[str] | None) -> tuple[str, ...]:
    if values is None:
        return ()
    if isinstance(values, (str, bytes)):
        raise ConfigurationError(f"{name} must be a list of strings, not one string: write {name}=[{values!r}]")
    try:
        items = list(values)
    except TypeError:
        raise ConfigurationError(f"{name} must be a list of strings, not {type(values).__name__}") from None
    for item in items:
        if not isinstance(item, str):
            raise ConfigurationError(f"{name} must hold strings only, not {type(item).__name__}: {item!r}")
    return tuple(dict.fromkeys(item.strip() for item in items))


def _pip(values: Iterable[str] | None) -> tuple[str, ...]:
    requirements = _strings("pip", values)
    for requirement in requirements:
        _check_requirement(requirement)
    return requirements


def _check_requirement(requirement: str) -> None:
    shown = repr(redact(requirement))
    if requirement.startswith("-"):
        raise ConfigurationError(
            f"pip holds requirements, not options, so {shown} is refused: name the packages themselves,"
            " and give a further index as pip_extra_index_url"
        )
    for found in _LITERAL_CREDENTIALS.finditer(requirement):
        # With a colon the secret is what follows it; without one, a host such as GitHub takes the name for the secret.
        secret = found["userinfo"].rpartition(":")[2]
        if found["userinfo"] != "git" and not _PLACEHOLDER.fullmatch(secret):
            raise ConfigurationError(
                f"the requirement {shown} carries credentials, which would be stored in the clear: write ${{TOKEN}}"
                " in their place and pass the value as env={'TOKEN': ...}"
            )
    target = requirement.partition("@")[2].strip() if _REQUIREMENT.match(requirement) else requirement
    if target.startswith((".", "/", "~")) or target.lower().startswith("file:"):
        raise ConfigurationError(
            f"the requirement {shown} is a path on this machine, which a node does not have: local modules that a"
            " function uses travel with it, so leave it out, or name a package from an index or a git+https URL"
        )
    if "\n" in requirement or not (_REQUIREMENT.match(requirement) or _REMOTE_URL.match(requirement)):
        raise ConfigurationError(
            f"{shown} is not a requirement: write it as 'numpy', 'numpy>=2' or 'name @ https://...'"
        )


def _apt(values: Iterable[str] | None) -> tuple[str, ...]:
    packages = _strings("apt", values)
    for package in packages:
        if not _APT_NAME.fullmatch(package):
            raise ConfigurationError(f"{package!r} is not the name of an apt package: write it as 'ffmpeg'")
    return packages


def _index(value: str | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"pip_extra_index_url must be one URL, not {type(value).__name__}")
    value = value.strip()
    usable = re.fullmatch(r"https?://[^/\s?#]+[^\s?#]*", value)
    if usable is None:
        raise ConfigurationError(
            f"pip_extra_index_url={redact(value)!r} is not the URL of a package index:"
            " write it as 'https://host/simple', without query or fragment"
        )
    return value


def _env(values: Mapping[str, str] | None) -> Variables:
    if values is None:
        return Variables()
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"env must map names to values, not be of type {type(values).__name__}")
    pairs: Iterable[tuple[object, object]] = values.items()
    for name, value in pairs:
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not the name of an environment variable")
        # The value may be a secret: only its type is shown.
        if not isinstance(value, str):
            raise ConfigurationError(f"env[{name!r}] must be a string, not {type(value).__name__}: write str(...)")
        if "\0" in value:
            raise ConfigurationError(f"env[{name!r}] holds a NUL character, which no environment can carry")
    return Variables(values)


def _show_index(url: str | None) -> str:
    return repr(None if url is None else redact(url))


@frozen(kw_only=True)
class Image:
    """The environment of a node.

    ``python``
        The node's Python, ``"3.13"`` or ``"3.13.1"``. Default: the minor version of the client.
    ``pip``
        Requirements that the node's environment holds. ``${NAME}`` in a URL stands for the variable of that name in
        ``env`` or in the client's own environment.
    ``pip_extra_index_url``
        A package index asked before the default one; credentials in it are never shown, logged or written down.
    ``apt``
        System packages.
    ``env``
        Environment variables of the node's processes, and of the installation.
    ``allow_version_gap``
        Whether ``python`` may be another minor version than the client's. Functions that are sent by value (those of
        scripts and notebooks, lambdas, closures) do not cross minor versions; only importable ones do.

    Lists are stored as tuples. Malformed input raises ``ConfigurationError``.
    """

    python: str = field(default=None, converter=_python)
    pip: tuple[str, ...] = field(default=(), converter=_pip)
    pip_extra_index_url: str | None = field(default=None, converter=_index, repr=_show_index)
    apt: tuple[str, ...] = field(default=(), converter=_apt)
    env: Variables = field(default=None, converter=_env)
    allow_version_gap: bool = False

    @property
    def python_minor(self) -> str:
        """The version without its patch number: ``"3.13"`` for ``"3.13.1"``."""
        return ".".join(self.python.split(".")[:2])

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown: the values of ``env`` and the credentials of the index. Input of ``redact``."""
        found = [*self.env.values()]
        if self.pip_extra_index_url is not None:
            split = split_credentials(self.pip_extra_index_url)
            found += [part for part in (split.username, split.password) if part]
        return tuple(found)

    def install_variables(self, given: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """The environment of an installation: ``env``, and the index and its credentials as uv reads them.

        ``given`` is what there is already. ``env`` goes before it; an index that it names in ``UV_INDEX`` is asked
        after this image's.
        """
        from skyward.model.bootstrap import INDEX_NAME

        found = {**given, **self.env}
        if self.pip_extra_index_url is not None:
            split = split_credentials(self.pip_extra_index_url)
            others = found.get("UV_INDEX", "")
            found["UV_INDEX"] = f"{INDEX_NAME}={split.url} {others}".strip()
            if split.username is not None:
                found[f"UV_INDEX_{INDEX_NAME.upper()}_USERNAME"] = split.username
            if split.password is not None:
                found[f"UV_INDEX_{INDEX_NAME.upper()}_PASSWORD"] = split.password
        return found

    def check(self) -> None:
        """Raise ``ConfigurationError`` when the node's Python could not run this client's functions.

        Called when a pool is entered, before anything is bought.
        """
        ours = client_python()
        if self.python_minor != ours and not self.allow_version_gap:
            raise ConfigurationError(
                f"the image asks for Python {self.python}, but this client runs {ours}, and functions that are sent by"
                f" value do not cross minor versions: leave python out (or write python={ours!r}), run the client on"
                f" Python {self.python_minor}, or, if every function is importable on the node, pass"
                " allow_version_gap=True"
            )

    def content_hash(self) -> str:
        """Twelve hexadecimal characters that name what is installed: for caches, snapshots and machine images.

        Equal in every process and for every order of the lists. Neither ``env`` nor the credentials of the index
        count: they are not part of what lies on the disk, and a hash of a secret would be a way to guess it.
        """
        index = self.pip_extra_index_url
        content = {
            "python": self.python,
            "pip": sorted(self.pip),
            "index": None if index is None else split_credentials(index).url,
            "apt": sorted(self.apt),
        }
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def bootstrap(self, ttl: int = 0, *, steps: Iterable[Step] = (), phases: Collection[str] | None = None) -> str:
        """The POSIX shell script that makes a bare machine ready, as it runs on the node.

        It can be run again at any time: a phase that is whole is skipped. ``ttl`` above 0 shuts the machine down that
        many seconds after the first run since its boot. ``steps`` are further phases, run last. The script holds no
        secret: the credentials of the index and the values of ``env`` come from its environment.

        ``phases`` are those that it has, all by default. With ``("uv", "apt", "deps")`` it makes what an image of a
        machine may hold already: the whole script, run later on a machine of that image, keeps what is there.
        """
        from skyward.model.bootstrap import PHASES, script

        return script(self, ttl=ttl, steps=steps, phases=PHASES if phases is None else phases)
