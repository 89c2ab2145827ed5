"""What each slot imports as soon as it is started: what the client has imported, as far as tasks may need it.

Importing scikit-learn takes seconds, for each slot anew, and they pass while the machines are still being made ready.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

__all__ = ["modules"]

_CLIENTS_OWN = frozenset({"conftest", "datasets", "experimental", "externals", "io", "test", "testing", "tests"})
"""Parts that a client uses to have data, or tests, and that no estimator needs: reading them would delay the tasks."""


_BEFORE = "skyward_sklearn._first"
_AFTER = "skyward_sklearn._remote"  # what runs in a slot


def modules(packages: Iterable[str]) -> tuple[str, ...]:
    """The packages, and the public parts right below them that this process has imported; between parts of this one."""
    return (_BEFORE, *(name for package in packages for name in (package, *_parts(package))), _AFTER)


def _parts(package: str) -> Iterator[str]:
    for name in sorted(sys.modules):
        above, _, part = name.rpartition(".")
        if above == package and not part.startswith("_") and part not in _CLIENTS_OWN:
            yield name
