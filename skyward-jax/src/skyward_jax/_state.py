"""What jax has of a group in this process, and how it is left behind without ending the process.

``jax.distributed.shutdown()`` ends the coordinator, too, and where that is gone XLA aborts every process that still has
a client. So the two are taken apart here. The names that are changed are of jax's own modules, and have been there
since its first releases with ``jax.distributed``.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["State", "bound_to"]


def bound_to(_size: int) -> str | None:
    """``""`` where any group can begin; ``None`` where one was left behind, so that a new process is needed.

    For core, which asks in the slot before a group begins. It imports no jax.
    """
    found = getattr(sys.modules.get("jax._src.distributed"), "global_state", None)
    left = found is not None and (found.client is not None or found.service is not None)
    return None if left else ""


class State:
    """The part of jax that belongs to a group.

    Args:
        jax: the module. Devices that it has made are forgotten, since none may be there when a group is joined.

    Attributes:
        coordinator: the one that this process had in the group that it has left; ``None`` if it had none. It is the
            caller's to close.
    """

    def __init__(self, jax: Any) -> None:
        from jax._src import distributed
        from jax._src.lib import _jax

        self._jax = jax
        self._native: Any = _jax
        self._state: Any = distributed.global_state
        self.coordinator: Any = None
        self._forget_devices()

    @contextmanager
    def client_made_by(self, announce: Callable[[], None]) -> Iterator[None]:
        """Inside the block, call ``announce`` when the coordinator listens and before anybody connects to it."""
        make = self._native.get_distributed_runtime_client

        def made(*args: Any, **kwargs: Any) -> Any:
            announce()
            return make(*args, **kwargs | {"shutdown_on_destruction": False})

        self._native.get_distributed_runtime_client = made
        try:
            yield
        finally:
            self._native.get_distributed_runtime_client = make

    @contextmanager
    def gloo_at(self, address: str) -> Iterator[None]:
        """Inside the block, gloo listens at this address alone, rather than at what the machine's name means."""
        make = self._native.make_gloo_tcp_collectives
        self._native.make_gloo_tcp_collectives = functools.partial(make, hostname=address)
        try:
            yield
        finally:
            self._native.make_gloo_tcp_collectives = make

    def settle(self) -> None:
        """Return when all that was begun has been computed: the others may be waiting for their parts of it."""
        with suppress(Exception):  # what failed has told so to whoever uses it
            self._jax.effects_barrier()
            for array in self._jax.live_arrays():
                with suppress(Exception):
                    array.block_until_ready()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside the block, a function that was written for a launcher neither joins another group nor ends this one.

        ``jax.distributed.initialize()`` finds all done; where it names a coordinator or processes, it is refused.
        """
        state = self._state
        state.initialize, state.shutdown = _initialized, _ended
        try:
            yield
        finally:
            del state.initialize, state.shutdown

    def leave(self) -> None:
        """Forget the group and its devices; what was left already stays so."""
        state = self._state
        service, client = state.service, state.client
        if service is None and client is None:
            return
        self.coordinator = service
        if client is not None:
            with suppress(Exception):
                client.shutdown()  # waits for nobody, as all of the coordinator's processes may come and go
        state.client = state.service = state.preemption_sync_manager = state.coordinator_address = None
        state.process_id, state.num_processes = 0, 1
        self._forget_devices()
        gc.collect()  # jax's objects refer to each other; with the last of them go gloo's connections and threads

    def _forget_devices(self) -> None:
        from jax.extend.backend import clear_backends

        clear_backends()


def _initialized(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *_: object,
    **__: object,
) -> None:
    """What ``jax.distributed.initialize`` does in a group."""
    if (coordinator_address, num_processes, process_id) != (None, None, None):
        raise RuntimeError(
            "jax.distributed is initialised already, for all processes of the call: leave jax.distributed.initialize "
            "out of the function, or its arguments"
        )


def _ended() -> None:
    """What ``jax.distributed.shutdown`` does in a group: others may need the coordinator, and all leave together."""
