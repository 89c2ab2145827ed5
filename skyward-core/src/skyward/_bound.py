"""Which processes have to be renewed before functions can run together in them. Pure, but for the pickle.

See `skyward.worker.bound`: each slot says what its process is bound to, if the integration asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skyward.worker import pickling
from skyward.worker.bound import RENEWED

if TYPE_CHECKING:
    from skyward.function import ComputeFunction

__all__ = ["probe_of", "to_renew", "was_renewed"]


def probe_of(function: ComputeFunction[..., Any]) -> bytes:
    """What slots are sent to ask with: the pickled ``bound_to`` of the function; nothing if it has none."""
    bound_to = getattr(function, "bound_to", None)
    return b"" if bound_to is None else pickling.dumps(bound_to)[0]


def to_renew(told: Mapping[int, str | None]) -> list[int]:
    """The ranks whose processes must be new ones before the group can run.

    None if all are bound to the same, or to nothing. Else all that are bound: also those that could have gone on with
    the others, had these not been bound to something else.

    Args:
        told: what each rank's process is bound to, ``""`` for nothing, ``None`` for what stands in the way.
    """
    if None not in told.values() and len(set(told.values())) == 1:
        return []
    return [rank for rank, bound in told.items() if bound != ""]


def was_renewed(facts: Mapping[str, Any]) -> bool:
    """Whether a slot's process has ended because it was to be renewed, by what its supervisor says of its end."""
    return facts["exit_code"] == RENEWED and not facts["running"]
