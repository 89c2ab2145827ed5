"""Searches for what is for rent, of which Vast.ai takes ten in a minute: an answer is used for some seconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from skyward_vastai._offers import Ask, Found, search

if TYPE_CHECKING:
    from skyward.spi import ComputeSpec, Market, RestClient
    from skyward_vastai._settings import VastAI

__all__ = ["Searches"]

_AGE = 20.0
"""Seconds for which an answer is used again: several nodes may be outbid at the same moment, and each looks for another
machine."""


class Searches:
    """What is for rent by the settings.

    Args:
        rest: the account.
        settings: the user's.
    """

    def __init__(self, rest: RestClient, settings: VastAI) -> None:
        self._rest = rest
        self._settings = settings
        self._answers: dict[str, tuple[float, list[Ask]]] = {}

    async def found(self, spec: ComputeSpec, market: Market) -> list[Ask]:
        """What meets a request, but for what has turned out to be gone."""
        body = search(self._settings, spec, market)
        question, now = json.dumps(body), self._rest.waits.now()
        until, asks = self._answers.get(question, (now, []))
        if until <= now:
            found = await self._rest.ask("POST", "/api/v0/bundles/", body=body, into=Found)
            until, asks = self._rest.waits.now() + _AGE, found.offers
            self._answers[question] = until, asks
        return asks

    def drop(self, ask: object) -> None:
        """This one was ordered: it is ours now, or somebody else's."""
        self._answers = {
            question: (until, [each for each in asks if each.id != ask])
            for question, (until, asks) in self._answers.items()
        }
