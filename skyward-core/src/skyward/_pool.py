"""``ComputePool``: machines that exist as long as a ``with`` block, and the calls that run on them."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Never, Self, overload

from skyward import _current, _guards
from skyward._around import Around
from skyward._engine import Engine
from skyward._interrupts import shield
from skyward._options import PoolOptions, ProviderLike, SelectionLike, check_options
from skyward.computation import PendingBatch, PendingCompute
from skyward.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from skyward._calls import Calls
    from skyward._events import Callback, EventBus
    from skyward._executor import PoolExecutor
    from skyward.model.accelerator import Accelerator
    from skyward.model.allocation import AllocationLike
    from skyward.model.events import SkywardEvent
    from skyward.model.image import Image
    from skyward.model.volume import Volume
    from skyward.spi.integration import Integration

__all__ = ["ComputePool"]


class ComputePool:
    """Machines for the time of a block; functions are sent to them with ``>>``, ``@`` and ``&``.

    Nothing is bought before the block is entered, and nothing is left when it has ended, however it ends.

    Args:
        provider: where the machines come from, or several providers to choose from. Default: ``sky.Local()``.
        selection: which of several providers comes first: ``"first"``, ``"cheapest"``, ``"available"``, the name of a
            plugin's selector, or a callable ``(providers, spec) -> provider``. The others follow when it fails.
        image: the software of the nodes.
        nodes: number of machines.
        machine: the provider's name of a machine type, instead of a choice by what is needed.
        accelerator: ``"A100"``, ``"H100:4"``, ``sky.accelerators.T4()``.
        cpu: virtual CPUs per node, at least.
        memory: memory per node, at least, such as ``"32GB"``.
        volume: volumes to be mounted on each node.
        allocation: ``"spot-if-available"``, ``"spot"``, ``"on-demand"``, ``"cheapest"``, the name of a plugin's
            strategy, a share of spot from 0 to 1, a value of ``sky.Allocation``, or any object with ``allocate``.
        max_hourly_cost: US dollars that an hour of all machines together may cost; offers with which it would cost
            more are refused. ``None`` for no limit.
        budget: US dollars that the pool may cost in its whole life, enforced on the machines: they end themselves at
            the moment up to which it pays for them, or at ``timeout`` if that comes first. ``None`` for no limit.
        timeout: seconds that the machines may live, enforced on the machines; ``None`` for no limit.
        env: environment variables of the tasks.
        concurrency: tasks that a node runs at a time, each in a process of its own.
        display: ``"log"``, ``"spinner"`` or ``"quiet"``.
        on_event: called with every event of the pool, on a thread of the pool's.
        collect_metrics: whether the nodes measure themselves every 2 seconds.
        provision_timeout: seconds from entering the block until the pool is ready.
        lease: seconds without a word from this client after which a machine ends itself; ``None`` to outlive the
            client until ``timeout``. Default: the provider's, which is 10 for ``Local``.
        plugins: integrations that are active on the whole pool.

    Raises:
        ConfigurationError: a parameter cannot work, or is unknown; nothing was bought.
    """

    def __init__(
        self,
        provider: ProviderLike | None = None,
        *,
        selection: SelectionLike = "first",
        image: Image | None = None,
        nodes: int = 1,
        machine: str | None = None,
        accelerator: str | Accelerator | None = None,
        cpu: int | None = None,
        memory: str | None = None,
        volume: Sequence[Volume] | None = None,
        allocation: AllocationLike = "spot-if-available",
        max_hourly_cost: float | None = None,
        budget: float | None = None,
        timeout: float | None = 3600,
        env: Mapping[str, str] | None = None,
        concurrency: int = 1,
        display: Literal["log", "spinner", "quiet"] = "log",
        on_event: Callback | None = None,
        collect_metrics: bool = True,
        provision_timeout: float = 1800,
        lease: float | Literal["provider"] | None = "provider",
        plugins: Sequence[Integration] = (),
        **unknown: Never,
    ) -> None:
        self._options = check_options(
            _parameters(type(self)) if unknown else (),
            provider=provider,
            selection=selection,
            image=image,
            nodes=nodes,
            machine=machine,
            accelerator=accelerator,
            cpu=cpu,
            memory=memory,
            volume=volume,
            allocation=allocation,
            max_hourly_cost=max_hourly_cost,
            budget=budget,
            timeout=timeout,
            env=env,
            concurrency=concurrency,
            display=display,
            on_event=on_event,
            collect_metrics=collect_metrics,
            provision_timeout=provision_timeout,
            lease=lease,
            plugins=plugins,
            unknown=unknown,
        )
        self._engine = Engine(self._options)
        self._around = Around(self, self._options.plugins)

    @functools.cached_property
    def _calls(self) -> Calls:
        from skyward._calls import Calls  # with pickling and all: imported while the machines start

        return Calls(self._engine)

    # the block

    def __enter__(self) -> Self:
        """Provision the pool and make it the current one; returns when it takes tasks."""
        _guards.refuse_in_running_loop("with sky.ComputePool(...)", "async with sky.ComputePool(...)")
        entered = False
        try:
            with shield:
                self._open()
                _current.enter(self)
                entered = True
        except BaseException as error:
            if entered:  # by a signal that had to wait: there will be no block that could be left
                self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    @shield.entered_by
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every machine. What still runs is stopped."""
        with shield:
            _current.leave(self)
            self._close(kind, error, trace)

    async def __aenter__(self) -> Self:
        """As ``with``, without blocking the running event loop."""
        await self._engine.aenter()
        try:
            self._around.enter()
        except BaseException:
            await self._engine.aleave()
            raise
        _current.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As the end of ``with``, without blocking the running event loop."""
        _current.leave(self)
        try:
            self._around.leave(kind, error, trace)
        finally:
            await self._engine.aleave()

    def _open(self) -> None:
        """Provision, and enter what integrations put around the block."""
        with shield:
            self._engine.enter()
            try:
                with shield.window():
                    self._around.enter()
            except BaseException:
                self._engine.leave()
                raise

    def _close(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Leave what integrations have put around the block, and end every machine whatever comes of that."""
        with shield:
            try:
                with shield.window():
                    self._around.leave(kind, error, trace)
            finally:
                self._engine.leave()

    # running

    def run[R](self, pending: PendingCompute[R], /) -> R:
        """Run a call on one node and return its result; what ``pending >> pool`` does.

        Raises:
            UsageError: the pool is not active, or this thread runs an event loop (``await pool.arun(pending)``).
            TaskError: the task could not be run to its end.
            Exception: whatever the function raised.
        """
        _guards.refuse_in_running_loop("pending >> pool", "await pool.arun(pending)", pending)
        result: R = self._calls.run(pending)
        return result

    def run_batch[*Ts](self, batch: PendingBatch[*Ts], /) -> tuple[*Ts]:
        """Run calls in parallel and return their results in order; what ``batch >> pool`` does.

        When some fail, the first error in the batch's order is raised after all have ended.
        """
        _guards.refuse_in_running_loop("batch >> pool", "await pool.arun_batch(batch)", batch)
        return self._calls.run_batch(batch)

    def broadcast[R](self, pending: PendingCompute[R], /) -> tuple[R, ...]:
        """Run a call once on every node and return the results in node order; what ``pending @ pool`` does."""
        _guards.refuse_in_running_loop("pending @ pool", "await pool.abroadcast(pending)", pending)
        return self._calls.broadcast(pending)

    async def arun[R](self, pending: PendingCompute[R], /) -> R:
        """:meth:`run` for coroutines. Cancelling it cancels the task on the node."""
        result: R = await self._calls.arun(pending)
        return result

    async def arun_batch[*Ts](self, batch: PendingBatch[*Ts], /) -> tuple[*Ts]:
        """:meth:`run_batch` for coroutines."""
        return await self._calls.arun_batch(batch)

    async def abroadcast[R](self, pending: PendingCompute[R], /) -> tuple[R, ...]:
        """:meth:`broadcast` for coroutines."""
        return await self._calls.abroadcast(pending)

    def submit[R](self, pending: PendingCompute[R], /) -> concurrent.futures.Future[R]:
        """Start a call and return a future of its result."""
        return self._calls.submit(pending)

    def executor(self) -> PoolExecutor:
        """Return a ``concurrent.futures.Executor`` over this pool; shutting it down leaves the pool open."""
        from skyward._executor import PoolExecutor

        return PoolExecutor(self)

    # observing and steering

    @property
    def is_active(self) -> bool:
        """Whether the block has been entered, is provisioned, and has not ended."""
        return self._engine.is_active

    @property
    def instance_count(self) -> int:
        """Number of machines that take tasks now; 0 outside the block."""
        return self._engine.instance_count

    @property
    def nodes(self) -> int:
        """Number of machines that were asked for."""
        return self._options.spec.nodes

    @property
    def concurrency(self) -> int:
        """Tasks that each machine runs at a time."""
        return self._options.spec.concurrency

    @property
    def events(self) -> EventBus:
        """Where the pool's events go."""
        return self._engine.events

    @overload
    def on[E: SkywardEvent](
        self, event: type[E] | tuple[type[E], ...]
    ) -> Callable[[Callable[[E], None]], Callable[[E], None]]: ...
    @overload
    def on[E: SkywardEvent](
        self, event: type[E] | tuple[type[E], ...], handler: Callable[[E], object]
    ) -> Callable[[], None]: ...
    def on(self, event: Any, handler: Any = None) -> Any:
        """Call ``handler`` with each event of a class; as a decorator when no handler is given.

        Args:
            event: an event class, or several.
            handler: called on a thread of the pool's. What it raises is logged and stops nothing.

        Returns:
            A function that ends the subscription; as a decorator, the handler itself.
        """
        types = event if isinstance(event, tuple) else (event,)
        if handler is not None:
            return self._engine.events.subscribe(handler, types)

        def decorate(function: Any) -> Any:
            self._engine.events.subscribe(function, types)
            return function

        return decorate

    def extend(self, seconds: float) -> None:
        """Move the moment at which the machines end themselves to ``seconds`` from now; it may come sooner by that.

        The machines' tags are moved before the machines live longer, so that nobody ends them for being left over.

        Raises:
            ProvisioningError: a provider does not move the tags of its machines. Then all end when they would have.
            UsageError: the pool is not active, or this thread runs an event loop.
            ConfigurationError: ``seconds`` is no positive number, or the pool's budget does not pay for them.
        """
        from skyward.model.machine import is_number

        awaitable = f"await asyncio.to_thread(pool.extend, {seconds!r})"
        _guards.refuse_in_running_loop(f"pool.extend({seconds!r})", awaitable)
        if not is_number(seconds) or seconds <= 0:
            raise ConfigurationError(f"seconds must be more than 0, not {seconds!r}: leave the block to end the pool")
        self._engine.extend(seconds)

    @property
    def _pool_options(self) -> PoolOptions:
        return self._options

    def __repr__(self) -> str:
        names = ", ".join(provider.name for provider in self._options.providers)
        return f"<{type(self).__name__} of {self._options.spec.nodes} node(s) on {names}, {self._engine.state}>"


def _parameters(kind: type[ComputePool]) -> tuple[str, ...]:
    """Those of ``ComputePool``, and those that a class made of it has besides."""
    found = (name for each in kind.__mro__ for name in getattr(vars(each).get("__init__"), "__annotations__", ()))
    return tuple(name for name in dict.fromkeys(found) if name not in ("return", "parameters", "unknown"))
