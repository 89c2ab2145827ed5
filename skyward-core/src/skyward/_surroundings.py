"""What of the client's surroundings its nodes need as well, to reach what it reaches: certificates, proxies, indexes.

A client behind a company's proxy that re-signs TLS, or with a package index of its own, says so by the variables below.
A machine elsewhere gets them too, but for those that lead to the client's own machine and no further.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
import re
from urllib.parse import urlsplit

from attrs import field, frozen

from skyward.model.image import Variables
from skyward.model.redact import redact, split_credentials

__all__ = ["Surroundings", "client_surroundings", "is_this_machine"]

_log = logging.getLogger("skyward.surroundings")

_PROXIES = (
    *("http_proxy", "https_proxy", "all_proxy", "ftp_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"),
)

# Where packages and Pythons come from, as one address or several: https://docs.astral.sh/uv/reference/environment/ and
# https://pip.pypa.io/en/stable/topics/configuration/.
_ADDRESSES = (
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_PYTHON_INSTALL_MIRROR"),
    *("UV_INSTALLER_GITHUB_BASE_URL", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
)
# How to get there.
_OTHERS = (
    *("no_proxy", "NO_PROXY", "UV_INDEX_STRATEGY", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"),
    *("PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"),
)
_CREDENTIALS = re.compile(r"UV_INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD)")

# What names a file of certificates to the programs that do not read SSL_CERT_FILE.
_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_told: set[str] = set()
"""What this process has logged already."""


@frozen
class Surroundings:
    """Variables and certificates of the client that hold on its nodes, too. ``SshTransport`` sees to that by itself.

    Whoever runs something on a machine in another way, such as making an image, gives it ``environment(path)`` with
    the certificates in the file ``path`` there. The values may hold credentials of proxies and indexes: they go through
    a standard input or a file that nobody else can read, never onto a command line or into a label, and what the
    program says goes through ``redact`` before it is shown or logged.

    Attributes:
        variables: settings of proxies and package indexes, by their names; no ``repr`` shows a value.
        certificates: what the client trusts (PEM), where ``SSL_CERT_FILE`` says so; ``None`` for what everybody trusts.
    """

    variables: Variables
    certificates: bytes | None = field(repr=False)

    def environment(self, certificates: str) -> dict[str, str]:
        """The variables for a machine that has the certificates, if there are any, in the file of this path."""
        trusted = {} if self.certificates is None else dict.fromkeys(_CERTIFICATES, certificates)
        return {**self.variables, **trusted}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every form in which a credential may turn up in a program's output."""
        found: set[str] = set()
        for name, value in self.variables.items():
            if _CREDENTIALS.fullmatch(name):
                found.add(value)
            for word in value.split() if name in _PROXIES or name in _ADDRESSES else ():
                address = _address(word, has_scheme=name not in _PROXIES)
                _, username, password = split_credentials(address)
                userinfo = address.partition("//")[2].partition("/")[0].rpartition("@")[0]
                found |= {userinfo, *userinfo.split(":", 1), username or "", password or ""}
                # As a program says it that shows the headers that it sends.
                found |= {_basic(pair) for pair in (userinfo, f"{username}:{password}") if password}
        return tuple(found - {""})

    def redact(self, text: str) -> str:
        """``text`` with every credential hidden."""
        return redact(text, self.secrets)


def client_surroundings() -> Surroundings:
    """What the environment of this process says now.

    Left out is what cannot work elsewhere: a proxy or an index at a loopback address, and a folder of this machine for
    an index. The log says so, once for each.
    """
    found: dict[str, str] = {}
    for name, value in os.environ.items():
        if not value.strip():
            continue
        if name in _PROXIES:
            if _leads_out(name, value, has_scheme=False):
                found[name] = value
        elif name in _ADDRESSES:
            words = [word for word in value.split() if _leads_out(name, word, has_scheme=True)]
            if words:
                found[name] = " ".join(words)
        elif name in _OTHERS or _CREDENTIALS.fullmatch(name):
            found[name] = value
    return Surroundings(Variables(found), _certificates())


def _basic(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def _certificates() -> bytes | None:
    path = os.environ.get("SSL_CERT_FILE")
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        _tell(
            f"SSL_CERT_FILE names {path}, which cannot be read ({error.strerror}), so the nodes trust what their own "
            "system trusts: name a file of certificates, or unset it"
        )
        return None


def _leads_out(name: str, word: str, *, has_scheme: bool) -> bool:
    """Whether an address leads further than to this machine."""
    address = _address(word, has_scheme=has_scheme)
    try:
        parts = urlsplit(address)
        here = not parts.netloc or parts.scheme == "file" or is_this_machine(parts.hostname or "")
    except ValueError:  # no address at all: whoever reads it says so better
        here = False
    if here:
        _tell(
            f"{name} is not passed on to the nodes: {redact(address)} is on this machine alone, and they cannot reach "
            "it; set one that they can, or nothing if they need none"
        )
    return not here


def _address(word: str, *, has_scheme: bool) -> str:
    """A word of a setting as a URL: uv's indexes may have a name before it, and proxies may lack a scheme."""
    word = re.sub(r"^[\w.-]+=(?=\S)", "", word)
    return word if has_scheme or "://" in word else f"http://{word}"


def is_this_machine(host: str) -> bool:
    """Whether the host of an address is whatever machine asks, so that it means another one on a node."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _tell(text: str) -> None:
    if text not in _told:
        _told.add(text)
        _log.warning("%s", text)
