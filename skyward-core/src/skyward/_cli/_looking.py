"""Commands that only look: they can be broken off at any moment, and ask each provider side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from skyward._cli._interrupts import Interrupts
from skyward._threads import Threads

if TYPE_CHECKING:
    from skyward.spi.provider import Provider

__all__ = ["add_common", "each", "look"]


def look(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run to the end or until a signal; the signal's number, or 0."""

    async def looking() -> int:
        asyncio.get_running_loop().set_default_executor(Threads())
        interrupts = Interrupts()
        with interrupts.heard():
            try:
                await work()
            except asyncio.CancelledError:
                if not interrupts.last:
                    raise
        return interrupts.last

    return asyncio.run(looking())


async def each[T](
    providers: Sequence[Provider], ask: Callable[[Provider], Coroutine[Any, Any, T]]
) -> list[tuple[Provider, T | str]]:
    """Ask all at the same time: each provider with its answer, or with what kept it from answering, in words."""
    from skyward._concurrency import all_of
    from skyward.errors import SkywardError
    from skyward.model.redact import redact

    async def asked(provider: Provider) -> T | str:
        try:
            return await ask(provider)
        except SkywardError as error:
            return redact(str(error) or type(error).__name__)

    answers = await all_of(asked(provider) for provider in providers)
    return list(zip(providers, answers, strict=True))


def add_common(parser: Any) -> None:
    """The options that all of them have."""
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    parser.add_argument(
        "--provider", action="append", default=[], metavar="NAME", help="ask this one alone; may be repeated"
    )
