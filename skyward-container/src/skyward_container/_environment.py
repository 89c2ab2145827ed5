"""Variables on their way into a container: by a standard input, never by the engine's own hands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

__all__ = ["UNSET", "assignments"]

_PROXIES = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY"),
)
UNSET = tuple(word for name in _PROXIES for word in ("--env", f"{name}="))
"""Options that keep an engine from writing the client's proxies, credentials and all, into a container's settings, as
podman does with those of its own environment and Docker with those of its configuration."""


def assignments(variables: Mapping[str, str]) -> str:
    """Variables as text that a shell reads."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
