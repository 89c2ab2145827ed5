"""On a node: ``jax.distributed`` for the time of one call. This module is imported there alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from skyward.spi import Group, current_group, environ_with, listening_variables, not_on_this_node, uninterrupted
from skyward_jax._coordinators import close, close_later, close_those_left
from skyward_jax._devices import demand_builds, devices_of
from skyward_jax._meeting import Meeting, written
from skyward_jax._state import State

__all__ = ["distributed"]

_A_DAY = 86_400
"""Seconds after which the coordinator takes a silent process for dead. It would end all others by ``abort()``; which
nodes and processes are lost the pool sees, and sooner."""


@contextmanager
def distributed() -> Iterator[None]:
    """Be a process of the running call's ``jax.distributed``; leave it at the end of the block, however it ends.

    It does nothing in a function that runs by itself. Arrays that the process made before do not go together with those
    that are made inside, nor these with later ones: jax's devices are made anew.

    Raises:
        ModuleNotFoundError: jax is not installed.
        RuntimeError: something else has initialised ``jax.distributed`` in this process.
        ConfigurationError: the node has GPUs, and either fewer than processes, or a jax without builds for them.
        ConnectionError: the processes cannot reach each other.
    """
    group = current_group()
    if group is None:
        yield
        return
    jax = _imported()
    demand_builds()
    before = ExitStack()
    try:
        before.enter_context(environ_with(_variables(group)))
        before.enter_context(_configured(jax, _settings(jax, group)))
        with _member(jax, group):
            yield
    finally:
        with uninterrupted():
            before.close()


def _imported() -> Any:
    try:
        import jax
        import jax.extend.backend
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"jax", "jaxlib"}:
            raise
        raise not_on_this_node("jax", "jax") from None
    if jax.distributed.is_initialized():
        raise RuntimeError(
            "this process takes part in a jax.distributed that another function has left behind: call "
            "jax.distributed.shutdown() where it was initialised"
        )
    return jax


_NOT_THESE = ("JAX_LOCAL_DEVICE_IDS", "JAX_PARTITION_INDEX", "JAX_SLICE_INDEX")
"""Variables by which jax would divide devices and processes otherwise."""


def _variables(group: Group) -> dict[str, str | None]:
    """The environment of a process. An interface that the pool's ``env`` names stands."""
    here = group.members[group.rank].address
    return {**dict.fromkeys(_NOT_THESE), **listening_variables(here, nccl=True)}


def _settings(jax: Any, group: Group) -> dict[str, Any]:
    """Options of jax that processes of a group need, as they are to be while they are one."""
    found: dict[str, Any] = {
        # It would have SIGTERM end nothing any more, so that a program waits for a moment to save what it has.
        "jax_enable_preemption_service": False,
        # A process that fails leaves at once, rather than wait for the others, and is no reason for XLA to abort them:
        # which function fails the pool sees, and stops the rest.
        "jax_enable_recoverability": True,
        # This is about the proxies of the web, which warnings of jax's are about, and gRPC to a node's address is not.
        "jax_check_proxy_envs": False,
    }
    if getattr(jax.config, "jax_cpu_collectives_implementation", None) in {None, "none"}:
        found["jax_cpu_collectives_implementation"] = "gloo"
    own = devices_of(group)
    if own is not None:
        found["jax_cuda_visible_devices"] = ",".join(map(str, own))
    return found


@contextmanager
def _configured(jax: Any, settings: dict[str, Any]) -> Iterator[None]:
    """Set options of jax inside the block; those that this version does not have are left out."""
    values = jax.config.values
    before = {name: values[name] for name in settings if name in values}
    try:
        for name in before:
            jax.config.update(name, settings[name])
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@contextmanager
def _member(jax: Any, group: Group) -> Iterator[None]:
    """Be a process of the group inside the block."""
    close_those_left()
    state = State(jax)
    with Meeting(group) as meeting:
        try:
            with state.gloo_at(group.members[group.rank].address):
                with state.client_made_by(meeting.announce):
                    jax.distributed.initialize(
                        f"{written(group.head.address)}:{meeting.port}",
                        group.size,
                        group.rank,
                        coordinator_bind_address=f"{written(meeting.address)}:{meeting.port}",
                        cluster_detection_method="deactivate",
                        heartbeat_timeout_seconds=_A_DAY,
                    )
                with state.kept():
                    yield
            state.settle()
            meeting.through()
            with uninterrupted():
                state.leave()
            meeting.part()
            with uninterrupted():
                close(state.coordinator)
                state.coordinator = None
        finally:
            with uninterrupted():  # half a group could be neither used nor left
                state.leave()
                close_later(state.coordinator)
