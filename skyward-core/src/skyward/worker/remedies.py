"""What to do instead of sending an object that cannot be pickled."""

from __future__ import annotations

import io
import pickle
import types
from collections.abc import Callable

from skyward.worker.pickling import CLIENT_ONLY

__all__ = ["is_known", "reason"]

_LAZY = (types.GeneratorType, types.AsyncGeneratorType, map, filter, zip, enumerate)
_LOCKS = frozenset({"_thread", "multiprocessing", "threading"})
_GUARDS = ("lock", "condition", "semaphore", "event", "barrier")
_SOCKETS = frozenset({"_socket", "_ssl", "socket", "ssl"})
_DATABASES = frozenset(
    {
        "MySQLdb", "aiomysql", "asyncpg", "duckdb", "mysql", "oracledb", "psycopg", "psycopg2", "psycopg_binary",
        "pymongo", "pymysql", "pyodbc", "redis", "snowflake", "sqlalchemy", "sqlite3",
    }
)  # fmt: skip
_CLIENTS = frozenset({"aiohttp", "boto3", "botocore", "google", "grpc", "httpx", "paramiko", "requests"})
_RUNNING = frozenset(
    {"asyncio", "_asyncio", "_queue", "_thread", "concurrent", "multiprocessing", "queue", "subprocess", "threading"}
)


def reason(culprit: object, error: BaseException, context: str) -> str:
    """Why ``culprit`` cannot be pickled, and the remedy.

    ``context`` is "captured" for what a function carries, "argument" or "result".
    """
    said = str(error).rstrip(".")
    if not (isinstance(error, (TypeError, AttributeError, pickle.PicklingError)) and "pickle" in said.lower()):
        said = f"cannot pickle '{type(culprit).__name__}' object: {type(error).__name__}: {said}"
    if any(said.endswith(remedy) for remedy in CLIENT_ONLY.values()):
        return said
    return f"{said}; {_remedy(culprit, context)}"


def _remedy(culprit: object, context: str) -> str:
    for fits, advice in _REMEDIES:
        if fits(culprit):
            return advice.get(context, advice["argument"])
    return _DEFAULT.get(context, _DEFAULT["argument"])


def is_known(obj: object) -> bool:
    """Whether there is a remedy for this very kind of object."""
    return any(fits(obj) for fits, _ in _REMEDIES)


def _comes_from(obj: object, packages: frozenset[str]) -> bool:
    """Whether the object's class, or one that it derives from, is defined in one of the packages."""
    return any(base.__module__.partition(".")[0] in packages for base in type(obj).__mro__)


def _is_lock(obj: object) -> bool:
    names = [base.__name__.lower() for base in type(obj).__mro__]
    return _comes_from(obj, _LOCKS) and any(word in name for name in names for word in _GUARDS)


type _Advice = dict[str, str]

_DEFAULT: _Advice = {
    "argument": "pass the data that it is made from, or build it inside the function",
    "captured": "create it inside the function",
    "result": "return plain data instead",
}

_REMEDIES: list[tuple[Callable[[object], bool], _Advice]] = [
    (
        _is_lock,
        {
            "argument": "a lock guards one process only: leave it out, or build it inside the function",
            "captured": "a lock guards one process only: create it inside the function",
            "result": "a lock guards one process only: leave it out of the result",
        },
    ),
    (
        lambda obj: isinstance(obj, io.IOBase) or type(obj).__name__ == "_TemporaryFileWrapper",
        {
            "argument": "pass its path or its contents, and open it inside the function",
            "captured": "open it inside the function",
            "result": "return its path or its contents",
        },
    ),
    (
        lambda obj: _comes_from(obj, _SOCKETS),
        {
            "argument": "pass the address, and connect inside the function",
            "captured": "connect inside the function",
            "result": "return what was received from it",
        },
    ),
    (
        lambda obj: isinstance(obj, _LAZY),
        {
            "argument": "pass its items as a list: list(...)",
            "captured": "make a list of it, or create it inside the function",
            "result": "return its items as a list: list(...)",
        },
    ),
    (
        lambda obj: isinstance(obj, types.CoroutineType),
        {
            "argument": "await it, and pass what that gives",
            "captured": "await it inside the function",
            "result": "run it inside the function: asyncio.run(...)",
        },
    ),
    (
        lambda obj: _comes_from(obj, _DATABASES),
        {
            "argument": "pass what it takes to connect, and connect inside the function",
            "captured": "connect inside the function",
            "result": "return the rows that were fetched",
        },
    ),
    (
        lambda obj: _comes_from(obj, _CLIENTS),
        {
            "argument": "pass its settings, and create the client inside the function",
            "captured": "create the client inside the function",
            "result": "return the data that it gave",
        },
    ),
    (
        lambda obj: _comes_from(obj, _RUNNING),
        {
            "argument": "it belongs to this process: start one inside the function",
            "captured": "it belongs to this process: start one inside the function",
            "result": "it belongs to the node's process: return its outcome",
        },
    ),
    (
        lambda obj: isinstance(obj, types.ModuleType),
        {
            "argument": "pass its name, and import it inside the function",
            "captured": "import it inside the function",
            "result": "return its name",
        },
    ),
    (
        lambda obj: isinstance(obj, (types.FrameType, types.TracebackType)),
        {
            "argument": "pass it as text: traceback.format_tb(...)",
            "captured": "pass it as text: traceback.format_tb(...)",
            "result": "return it as text: traceback.format_tb(...)",
        },
    ),
    (
        lambda obj: _comes_from(obj, frozenset({"_weakref", "weakref"})),
        {
            "argument": "pass the object that it refers to",
            "captured": "refer to the object itself",
            "result": "return the object that it refers to",
        },
    ),
    (
        lambda obj: _comes_from(obj, frozenset({"_contextvars", "contextvars"})),
        {
            "argument": "pass its value: .get()",
            "captured": "pass its value as an argument: .get()",
            "result": "return its value: .get()",
        },
    ),
]
