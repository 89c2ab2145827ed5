"""joblib's view of a pool: a backend of ``Parallel``. Imported only where joblib is used."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

import skyward
from skyward.spi import Sharing
from skyward_sklearn._batches import Pace
from skyward_sklearn._remote import Initializer
from skyward_sklearn._sending import Sender, Sent
from skyward_sklearn._threads import Limits

if TYPE_CHECKING:
    from joblib.parallel import BatchedCalls, Parallel

    from skyward import ComputePool

__all__ = ["SkywardBackend"]

_WORTH_SHARING = 64 << 10
"""Bytes from which arrays are sent once all the same, as copies that may be written to: the folds of a search, say."""
_WITHOUT_EFFECT = {"context", "prefer", "require", "temp_folder", "verbose"}
"""What joblib gives every backend, and this one has no use for."""


class SkywardBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Runs the batches of ``Parallel`` in the slots of a pool.

    One that is given to ``parallel_config`` or ``Parallel`` is a template: each ``Parallel`` gets a copy of its own,
    so that several may be under way at once.

    Args:
        pool: the pool to run on.
        nesting_level: how many ``Parallel`` are around this one; joblib sets it.
        inner_max_num_threads: threads that native libraries may use in a slot. Default: the node's cores, shared out
            among its slots.
        initializer: called in each slot before the first batch that it runs, with ``initargs``; once in the life of
            the slot's process, however many ``Parallel`` name the same one.
        initargs: its arguments.
        retry: how many more times a batch may be run whose machine or process was lost, where its functions do not say
            so themselves by ``@sky.compute(retry=...)``. Default: 0, since nobody can know whether it ran.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    supports_sharedmem = False
    uses_threads = False
    default_n_jobs = -1

    def __init__(
        self,
        pool: ComputePool,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[object] = (),
        *,
        retry: int = 0,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self.pool = pool
        self._initializer = initializer, initargs
        self._retry = _checked(retry)
        self.parallel: Parallel | None = None
        self._sender: Sender | None = None
        self._process = os.getpid()
        self._is_copy = False
        self._limit = 0
        self._read_only_from: int | None = None
        self._pace = Pace()

    def require_active(self) -> None:
        """Raise ``UsageError`` unless the pool takes tasks."""
        if not self.pool.is_active:
            raise skyward.UsageError(
                "the pool is not active: enter its block first, `with sky.ComputePool(...) as pool:`, and open "
                "joblib_backend(pool) inside of it"
            )

    # how many

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """The number of slots that ``n_jobs`` stands for: -1 and ``None`` for all of the pool's.

        It is never 1 unless 1 is asked for: joblib runs what counts 1 in the calling process, and on a pool of a
        single slot that would leave the pool idle. There it is 2, of which one waits. In a copy of the process, which
        ``os.fork`` and ``multiprocessing`` make, it is 1: the pool is not the copy's.
        """
        n_jobs = self.default_n_jobs if n_jobs is None else n_jobs
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs == 1 or os.getpid() != self._process:
            return 1
        return max(2, self._slots(n_jobs))

    def _slots(self, n_jobs: int) -> int:
        """How many batches may run at a time."""
        slots = self.pool.nodes * self.pool.concurrency
        return min(n_jobs, slots) if n_jobs > 0 else max(slots + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int | None = 1,
        parallel: Parallel | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[object] = (),
        retry: int | None = None,
        max_nbytes: int | None = None,
        mmap_mode: str | None = None,
        **options: Any,
    ) -> int:
        """Get ready for the calls of one ``Parallel``; returns how many batches it may have run at a time.

        ``max_nbytes`` are the bytes from which arrays are sent to a slot once and are read-only there; smaller ones are
        copies that may be written to, and so are all of them with ``mmap_mode="c"``. With ``None`` for either, each
        batch brings its own.

        Raises:
            UsageError: the pool is not active.
            ValueError: arrays shall be written to in the place of the client's own; or ``retry`` is negative.
            TypeError: an option that this backend does not have.
        """
        effective = self.effective_n_jobs(n_jobs)
        if effective == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        unknown = options.keys() - _WITHOUT_EFFECT
        if unknown:
            raise TypeError(f"the backend of a pool has no option {', '.join(sorted(unknown))}: leave it out")
        if mmap_mode not in (None, "r", "c", "r+", "w+"):
            raise ValueError(f"mmap_mode is {mmap_mode!r}: give 'r' (read only), 'c' (copies to write to) or None")
        if mmap_mode in ("r+", "w+"):
            raise ValueError(
                f"mmap_mode={mmap_mode!r} would have tasks write into arrays of the client, which is another machine: "
                "return what they write, with mmap_mode='r' (read only) or 'c' (each task has a copy to write to)"
            )
        if not self._is_copy:
            raise FallbackToBackend(self._copy())
        self.require_active()
        self.parallel = parallel
        self._limit = self._slots(self.default_n_jobs if n_jobs is None else n_jobs)
        if max_nbytes is None or mmap_mode is None:
            self._read_only_from = None
        else:
            self._read_only_from = max_nbytes if mmap_mode == "r" else sys.maxsize
        if initializer is not None:
            self._initializer = initializer, initargs
        if retry is not None:
            self._retry = _checked(retry)
        self._renew()
        return effective

    def _renew(self) -> None:
        self._sender = Sender(
            self.pool,
            limit=self._limit if self._limit < self.pool.nodes * self.pool.concurrency else None,
            level=(self.nesting_level or 0) + 1,
            threads=Limits.here(self.inner_max_num_threads),
            initializer=Initializer.of(*self._initializer),
            retry=self._retry,
            sharing=_sharing(self._read_only_from),
        )

    def _copy(self) -> SkywardBackend:
        made = copy.copy(self)
        made._is_copy = True
        return made

    # running

    def start_call(self) -> None:
        """A call begins, before which arrays may have been changed."""
        if self._sender is not None:
            self._sender.forget()

    def submit(self, func: BatchedCalls, callback: Callable[[Sent], None]) -> Sent:
        """Send a batch; ``callback`` is called with what this returns, once it has ended."""
        assert self._sender is not None
        return self._sender.send(func.items, callback)

    def retrieve_result_callback(self, out: Sent) -> list[Any]:
        """The results of a batch that has ended; raises what one of its calls raised."""
        seconds, pause, results = out.ran()
        self._pace = self._pace.after(out.size, seconds, pause)
        return results

    # how many calls at a time

    def compute_batch_size(self) -> int:
        """The calls of the next batch."""
        before, self._pace = self._pace, self._pace.next()
        if self._pace.size != before.size and self.parallel is not None and self.parallel.verbose >= 10:
            self.parallel._print(f"A call takes {self._pace.call:.2g} s: batch_size={self._pace.size} from now on.")
        self._effective_batch_size = self._pace.size
        return self._pace.size

    def batch_completed(self, batch_size: int, duration: float) -> None:
        """Nothing: what the slot says about a batch is known by then, and tells more."""

    def reset_batch_stats(self) -> None:
        """Forget what calls took: the next ones are others."""
        super().reset_batch_stats()
        self._pace = Pace()

    # the end

    def terminate(self) -> None:
        """The ``Parallel`` has ended; the pool stays as it is."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002 -- as the base has it
        """Stop what was sent: what waits is dropped, what runs is interrupted, and has ended when this returns."""
        if self._sender is not None:
            self._sender.abort()
            self._sender.close()
            self._sender = None
        if ensure_ready:
            self._renew()


def _checked(retry: object) -> int:
    """How many times more; raises ``ValueError`` for what is no such number."""
    if not isinstance(retry, int) or retry < 0:
        raise ValueError(f"retry is {retry!r}: give how many more times a batch may be run, 0 or more")
    return retry


def _sharing(read_only_from: int | None) -> Sharing | None:
    """What shares arrays of so many bytes and more; smaller ones as copies that may be written to."""
    if read_only_from is None:
        return None
    return Sharing(above=min(read_only_from, _WORTH_SHARING), copied_below=read_only_from)
