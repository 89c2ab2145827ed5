"""What integrations make of functions that run together: each would otherwise write it for itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, overload

from skyward.errors import ConfigurationError
from skyward.function import ComputeFunction, compute
from skyward.worker.framework import bound_to_all, follows_by_any, run_inside

__all__ = ["grouped"]

type _Entered = Callable[[], AbstractContextManager[object]]
type _Judge = Callable[[BaseException], bool]
type _Probe = Callable[[int], str | None]


@overload
def grouped[**P, R](
    function: ComputeFunction[P, R],
    entered: _Entered,
    *,
    name: str,
    is_consequence: _Judge | None = None,
    bound_to: _Probe | None = None,
    forms_group: bool = False,
    inside: str | None = None,
) -> ComputeFunction[P, R]: ...
@overload
def grouped[**P, R](
    function: Callable[P, R],
    entered: _Entered,
    *,
    name: str,
    is_consequence: _Judge | None = None,
    bound_to: _Probe | None = None,
    forms_group: bool = False,
    inside: str | None = None,
) -> ComputeFunction[P, R]: ...
def grouped(
    function: Any,
    entered: _Entered,
    *,
    name: str,
    is_consequence: _Judge | None = None,
    bound_to: _Probe | None = None,
    forms_group: bool = False,
    inside: str | None = None,
) -> ComputeFunction[..., Any]:
    """Return the function as one that runs together, in what an integration puts around it on the node.

    A function that this integration was applied to before is returned as it is: the nearer setting stands. A function
    that calls another one of its kind by ``local`` runs it in the block that is there. From the moment that the
    function fails, no stop strikes any more, so that what undoes the block is not torn, and the rank's own error is the
    one that is told.

    Args:
        function: a plain function, or one that ``@compute`` or another integration has made.
        entered: gives the context manager to enter around each run. It is pickled and called on the node, so it imports
            the framework itself: a function at the top of a module, or ``functools.partial`` of one with settings.
        name: the integration's.
        is_consequence: whether an error of one rank follows from another's failure.
        bound_to: what a process is bound to, by the size of the group. Of several integrations' ones each is asked.
        forms_group: the block takes over the member's port (`Group.listener`), as only one around a function can.
        inside: an integration whose block is to be around this one, if the function has it already.

    Raises:
        ConfigurationError: what cannot run on a node, as of ``compute``; or another integration forms a group around
            the function.
    """
    made = compute(function)
    run = made.local
    names = getattr(run, "skyward_integrations", ())
    if name in names:
        return made
    outer = vars(run).get("skyward_block") if inside in names else None
    if outer is not None and outer[0] is getattr(run, "__wrapped__", None):  # else it is of a function further in
        below, other, *rest = outer
        within = grouped(
            ComputeFunction(below, made.retry, made.together),
            entered,
            name=name,
            is_consequence=is_consequence,
            bound_to=bound_to,
            forms_group=forms_group,
            inside=inside,
        )
        return grouped(within, rest[0], name=other, is_consequence=rest[1], bound_to=rest[2], forms_group=rest[3])
    forming = getattr(run, "skyward_group", None)
    if forms_group and forming is not None:
        raise ConfigurationError(
            f"{forming} and {name} would each form a group around {made.name}, and a call is in one: apply one of "
            "them, and run it in a pool without the other one's integration in plugins=[...]"
        )

    @functools.wraps(run)
    def around(*args: Any, **kwargs: Any) -> Any:
        return run_inside(name, entered, run, args, kwargs)

    own = vars(around)
    own["skyward_block"] = (run, name, entered, is_consequence, bound_to, forms_group)
    if forms_group:
        own["skyward_group"] = name
    own["skyward_integrations"] = (name, *names)
    judge: Any = own.get("is_consequence")
    probe: Any = own.get("bound_to")
    if is_consequence is not None:
        own["is_consequence"] = functools.partial(follows_by_any, (is_consequence, judge)) if judge else is_consequence
    if bound_to is not None:
        own["bound_to"] = functools.partial(bound_to_all, (probe, bound_to)) if probe else bound_to
    return ComputeFunction(around, made.retry, together=True)
