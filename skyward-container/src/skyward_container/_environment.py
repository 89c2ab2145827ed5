"""What of the client's surroundings a node needs as well, to reach what the client reaches."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

__all__ = ["CERTIFICATES", "UNSET", "assignments", "certificates", "passed_on"]

CERTIFICATES = "/run/skyward/certificates.pem"
"""Where a node has the client's certificates. Not at the client's own path, where a system's package may write."""

_PROXIES = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY"),
)
UNSET = tuple(word for name in _PROXIES for word in ("--env", f"{name}="))
"""Options that keep an engine from writing the client's proxies, credentials and all, into a container's settings, as
podman does with those of its own environment and Docker with those of its configuration."""

# Proxies, and where packages come from. Their values may hold credentials: they travel on the standard input of what
# needs them, and stand on no command line and in no label.
_PASSED_ON = (
    *_PROXIES,
    *("UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY", "UV_INSECURE_HOST"),
    *("UV_HTTP_TIMEOUT", "UV_PYTHON_INSTALL_MIRROR", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"),
)
# What names a file of certificates to the programs that do not read SSL_CERT_FILE.
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def certificates() -> bytes | None:
    """The certificates that the client trusts, where ``SSL_CERT_FILE`` names them."""
    path = os.environ.get("SSL_CERT_FILE")
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def passed_on(*, trusted: bool) -> dict[str, str]:
    """The variables for a node; ``trusted`` says whether the client's certificates are there."""
    found = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    return found | (dict.fromkeys(_CERTIFICATE_VARIABLES, CERTIFICATES) if trusted else {})


def assignments(variables: Mapping[str, str]) -> str:
    """Variables as text that a shell reads."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
