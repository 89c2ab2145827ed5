"""A sound provider, `Acme` of tests/plugin_seam, and the form in which a mistake is planted into it.

A mistake is a class of sessions with one thing changed, and in its docstring what its author had in mind. ``@caught``
says which rule of the conformance kit finds it, and by which words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from attrs import frozen
from skyward_acme.provider import REMEDY, Acme
from skyward_acme.session import AcmeSession, explain

from skyward.spi import Answer, PoolIdentity, RestClient, bearer

__all__ = ["MISTAKES", "Mistake", "Planted", "caught"]


class Mistake(AcmeSession):
    """A session of Acme's. What is changed in one of its subclasses is wrong."""

    rule: str
    says: str

    @staticmethod
    def explains(answer: Answer) -> Any:
        """What Acme's codes mean."""
        return explain(answer)


MISTAKES: dict[str, type[Mistake]] = {}
"""By their names."""


def caught[M: Mistake](rule: str, says: str) -> Callable[[type[M]], type[M]]:
    """Plant a mistake, which this test of the kit finds, with a message in which this is found."""

    def plant(kind: type[M]) -> type[M]:
        kind.rule, kind.says = f"test_{rule}", says
        MISTAKES[kind.__name__] = kind
        return kind

    return plant


@frozen(kw_only=True)
class Planted(Acme):
    """Acme with one mistake."""

    mistake: str

    async def open(self, identity: PoolIdentity, /) -> AcmeSession:
        """Open a session that makes it."""
        kind = MISTAKES[self.mistake]
        token = os.environ["ACME_TOKEN"]
        return kind(
            self,
            identity,
            RestClient("Acme", self.endpoint, authorize=bearer(token), explain=kind.explains, remedy=REMEDY),
        )
