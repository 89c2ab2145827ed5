"""The contenders, under one form: two workers of this machine, ready, that can be asked to call a function."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from benchmarks import floor, tasks

WORKERS = 2
type Function = Callable[..., Any]


class Contender(ABC):
    """Two workers. ``module`` is what must be installed, ``heavy`` one that works in the background all the time."""

    name: str
    module = ""
    heavy = False
    note = ""

    @abstractmethod
    def __init__(self) -> None:
        """Start the workers."""

    @abstractmethod
    def call(self, function: Function, *args: object) -> Any:
        """Call once and wait."""

    @abstractmethod
    def many(self, function: Function, count: int) -> None:
        """Call a function without arguments many times and wait for all."""

    @abstractmethod
    def close(self) -> None:
        """End the workers."""

    @classmethod
    def missing(cls) -> bool:
        """Whether it is not installed."""
        return bool(cls.module) and find_spec(cls.module) is None


class Skyward(Contender):
    """This package, as a user has it."""

    name = "skyward"
    display = "quiet"

    def __init__(self) -> None:
        import skyward as sky

        self._sky = sky
        self._decorated: dict[Function, Any] = {}
        self.pool = sky.ComputePool(nodes=WORKERS, display=self.display)  # type: ignore[arg-type]
        self.pool.__enter__()

    def compute(self, function: Function) -> Any:
        """The function, decorated once."""
        if function not in self._decorated:
            self._decorated[function] = self._sky.compute(function)
        return self._decorated[function]

    def call(self, function: Function, *args: object) -> Any:
        return self.compute(function)(*args) >> self.pool

    def many(self, function: Function, count: int) -> None:
        decorated = self.compute(function)
        self._sky.gather(*(decorated() for _ in range(count))) >> self.pool

    def close(self) -> None:
        self.pool.__exit__(None, None, None)


class SkywardLog(Skyward):
    """With the default display, which writes a line for each task; here to nowhere."""

    name = "skyward, with its log"
    display = "log"
    note = "the default display: a line for each task, or for some together, written to a file"

    def __init__(self) -> None:
        self._file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self._handler = logging.StreamHandler(self._file)
        logging.getLogger("skyward").addHandler(self._handler)
        logging.getLogger("skyward").setLevel(logging.INFO)
        super().__init__()

    def close(self) -> None:
        super().close()
        logging.getLogger("skyward").removeHandler(self._handler)
        self._file.close()


class Floor(Contender):
    """``floor.py``."""

    name = "floor"
    note = "a blocking Unix socket with cloudpickle, the function sent once (`floor.py`)"

    def __init__(self) -> None:
        self._workers = [floor.Worker() for _ in range(WORKERS)]
        self._turn = 0

    def call(self, function: Function, *args: object) -> Any:
        self._turn = (self._turn + 1) % WORKERS
        return self._workers[self._turn].call(function, *args)

    def many(self, function: Function, count: int) -> None:
        floor.many(self._workers, function, count)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


class _Executor(Contender):
    """Whatever is a ``concurrent.futures.Executor``."""

    executor: concurrent.futures.Executor

    def call(self, function: Function, *args: object) -> Any:
        return self.executor.submit(function, *args).result()

    def many(self, function: Function, count: int) -> None:
        for future in [self.executor.submit(function) for _ in range(count)]:
            future.result()

    def close(self) -> None:
        self.executor.shutdown()


class Processes(_Executor):
    """The standard library's."""

    name = "ProcessPoolExecutor"
    note = "functions by name only"

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.executor = concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context)


class Loky(_Executor):
    """What joblib uses."""

    name = "loky"
    module = "loky"

    def __init__(self) -> None:
        import loky

        self.executor = loky.ProcessPoolExecutor(WORKERS)


class Execnet(Contender):
    """Channels to two interpreters that run one fixed loop."""

    name = "execnet"
    module = "execnet"
    note = "a fixed loop that sends nothing back for nothing: it ships no functions and no objects, only plain values"

    def __init__(self) -> None:
        import execnet

        self._group = execnet.Group()
        loop = "for item in channel: channel.send(item)"
        self._channels = [self._group.makegateway("popen").remote_exec(loop) for _ in range(WORKERS)]
        self._turn = 0

    def call(self, function: Function, *args: object) -> Any:
        self._turn = (self._turn + 1) % WORKERS
        channel = self._channels[self._turn]
        channel.send(args[0] if args else None)
        return channel.receive()

    def many(self, function: Function, count: int) -> None:
        for number in range(count):
            self._channels[number % WORKERS].send(None)
        for number in range(count):
            self._channels[number % WORKERS].receive()

    def close(self) -> None:
        self._group.terminate(timeout=1)


class Ray(Contender):
    """Ray on this machine, as tasks."""

    name = "Ray"
    module = "ray"
    heavy = True

    def __init__(self) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        self._remote: dict[Function, Any] = {}
        ray.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            logging_level="error",
        )

    def _function(self, function: Function) -> Any:
        if function not in self._remote:
            self._remote[function] = self._ray.remote(function)
        return self._remote[function]

    def call(self, function: Function, *args: object) -> Any:
        return self._ray.get(self._function(function).remote(*args))

    def many(self, function: Function, count: int) -> None:
        remote = self._function(function)
        self._ray.get([remote.remote() for _ in range(count)])

    def close(self) -> None:
        self._ray.shutdown()


class Dask(Contender):
    """Dask's cluster on this machine."""

    name = "Dask"
    module = "distributed"
    heavy = True

    def __init__(self) -> None:
        import distributed

        self._client: Any = distributed.Client(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.ERROR
        )

    def call(self, function: Function, *args: object) -> Any:
        return self._client.submit(function, *args, pure=False).result()

    def many(self, function: Function, count: int) -> None:
        self._client.gather([self._client.submit(function, pure=False) for _ in range(count)])

    def close(self) -> None:
        cluster = self._client.cluster
        self._client.close()
        cluster.close()


ALL: list[type[Contender]] = [Floor, Skyward, SkywardLog, Processes, Execnet, Loky, Ray, Dask]


def warm(contender: Contender) -> None:
    """Let every worker have run something."""
    for _ in range(4 * WORKERS):
        contender.call(tasks.nothing)
