"""Why a pool could not be entered, without the way through the library on which that was found out.

The message says what happened and what to do. Thirty frames of event loops and of attempts that are made again would
push it off the screen, and none of them is the user's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from skyward.errors import PluginError, ProviderError, ProvisionTimeout, SkywardError

__all__ = ["briefly"]

_log = logging.getLogger("skyward.pool")


async def briefly[T](work: Awaitable[T]) -> T:
    """Wait for ``work``; a `SkywardError` of it goes on without its frames, which are logged at DEBUG.

    What a provider refuses goes on without its cause as well, if that is an error of somebody else's package.

    A `PluginError` keeps them, for whoever has written the plugin, and so does what is not skyward's own.
    """
    try:
        return await work
    except PluginError:
        raise
    except SkywardError as error:
        _log.debug("the pool could not be made ready", exc_info=True)
        if isinstance(error, ProvisionTimeout):
            error.__cause__ = None  # where the clock struck
        elif isinstance(error, ProviderError) and not isinstance(error.__cause__, SkywardError):
            error.__cause__ = None  # a vendor's package and its layers of HTTP: the message has what they said
        why = error
    try:
        raise why.with_traceback(None)
    finally:
        del why  # it refers to this frame now
