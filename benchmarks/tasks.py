"""What the contenders run on their workers."""

from __future__ import annotations

import os
from typing import Any


def nothing() -> None:
    """Do nothing."""


def back(value: Any) -> Any:
    """Give back what came."""
    return value


def process() -> int:
    """Say who runs this."""
    return os.getpid()
