"""What the integrations of a pool put around its block, on the client."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from skyward.errors import PluginError
from skyward.spi.integration import Surrounding

if TYPE_CHECKING:
    from skyward._pool import ComputePool
    from skyward.spi.integration import Integration

__all__ = ["Around"]


class Around:
    """Enters what the integrations of one pool give for its block, and leaves it in reverse order.

    Args:
        pool: is given to each.
        plugins: the pool's; those that put nothing around it are passed over.
    """

    def __init__(self, pool: ComputePool, plugins: Sequence[Integration]) -> None:
        self._pool = pool
        self._plugins = [plugin for plugin in plugins if isinstance(plugin, Surrounding)]
        self._entered: contextlib.ExitStack | None = None

    def enter(self) -> None:
        """Enter them, or leave none of them entered and raise what one has raised."""
        if not self._plugins:
            return
        with contextlib.ExitStack() as stack:
            for plugin in self._plugins:
                stack.enter_context(_given(plugin, self._pool))
            self._entered = stack.pop_all()
        atexit.register(self.leave)  # for a pool that is entered without a block; before its machines are ended

    def leave(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Leave them, with what ends the block. Does nothing where they were not entered, or are left already."""
        entered, self._entered = self._entered, None
        if entered is not None:
            atexit.unregister(self.leave)
            entered.__exit__(kind, error, trace)  # what the block raised is its own: none of them may suppress it


def _given(plugin: Surrounding, pool: ComputePool) -> contextlib.AbstractContextManager[object]:
    given: object = plugin.around(pool)
    if isinstance(given, contextlib.AbstractContextManager):
        return given
    from skyward._supplying import title_of

    raise PluginError(
        f"around of the integration {title_of(plugin)} returned {given!r}, which is no context manager; report that to "
        "its authors, or leave it out"
    )
