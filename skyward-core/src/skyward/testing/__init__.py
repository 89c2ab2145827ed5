"""For the tests of plugins and of users' own scripts. It offers nothing yet."""

from __future__ import annotations

__all__: list[str] = []
