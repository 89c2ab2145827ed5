"""Which system packages this machine lacks: nodes on it cannot install any, for it belongs to the user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

__all__ = ["missing_apt_packages"]


def missing_apt_packages(names: Sequence[str]) -> list[str]:
    """Those of ``names`` (as in ``Image.apt``) that are not installed here, in their order.

    On a machine without dpkg none counts as installed.
    """
    return [name for name in names if not _installed(name)]


def _installed(name: str) -> bool:
    package, _, version = name.partition("=")
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}\n", package]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    except FileNotFoundError:
        return False
    # One line for each architecture that the package was ever installed for.
    found = [line.partition(" ") for line in done.stdout.splitlines()]
    return any(status == "installed" and version in {"", has} for status, _, has in found)
