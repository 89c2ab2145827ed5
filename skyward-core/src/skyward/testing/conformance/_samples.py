"""The functions that integrations are tried on. They stand in a module, so that a node finds them by name."""

from __future__ import annotations

__all__ = ["failing", "product", "total"]


def total(first: int, second: int = 1) -> int:
    """The sum of two numbers."""
    return first + second


def product(first: int, second: int = 1) -> int:
    """Two numbers multiplied."""
    return first * second


def failing(text: str) -> str:
    """Raise ``LookupError`` with this text."""
    raise LookupError(text)
