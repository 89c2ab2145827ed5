"""Rebuild on the client what a task raised on a node; the other half of ``skyward.worker.failure``."""

from __future__ import annotations

import builtins
import io
import pickle
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cloudpickle

from skyward._missing_module import add_remedy
from skyward._stand_in import RemoteRepr, StandIn, bare, brief, builtin_base, stand_in_class
from skyward._tracebacks import build
from skyward.errors import TaskCancelled, TaskError, TaskExit

if TYPE_CHECKING:
    from skyward.worker.failure import Envelope, Piece, Record


def decode(data: bytes, *, node: int, slot: int) -> BaseException:
    """The exception that ``encode`` described, ready to be raised.

    It is an instance of its own class where the client has that class, else of a stand-in that is a subclass of every
    base the client has. ``SystemExit`` becomes ``TaskExit``, a cancelled task's exception ``TaskCancelled``; any other
    exception that is no ``Exception`` (such as ``asyncio.CancelledError``) is the cause of a ``TaskError``, so that it
    cannot end the client's own control flow. Never raises: what cannot be read becomes a ``TaskError`` saying so.
    """
    try:
        envelope: Envelope = pickle.loads(data)
        exc = _Builder(envelope, node, slot).build()
        return _outcome(exc, cancelled=envelope["cancelled"], node=node, slot=slot)
    except Exception as reason:  # noqa: BLE001 - a failure in reporting a failure is reported too
        return TaskError(
            f"the task failed on node {node}, but what it raised cannot be read here ({brief(reason)}): "
            "see the node's output for it",
            node=node,
            slot=slot,
        )


def _outcome(exc: BaseException, *, cancelled: bool, node: int, slot: int) -> BaseException:
    where = f"on node {node}, slot {slot}"
    wrapper: TaskError
    if cancelled:
        wrapper = TaskCancelled(f"the task was cancelled {where}", node=node, slot=slot)
        if not isinstance(exc, KeyboardInterrupt):
            wrapper.__cause__ = exc
            return wrapper
    elif isinstance(exc, Exception):
        add_remedy(exc, node)
        return exc
    elif isinstance(exc, SystemExit):
        text = f"the function called sys.exit({exc.code!r}) {where}: let it return or raise an exception instead"
        wrapper = TaskExit(text, code=exc.code, node=node, slot=slot)
    else:
        text = f"the function raised {brief(exc)} {where}, which is no Exception: catch it in the function"
        wrapper = TaskError(text, node=node, slot=slot)
        wrapper.__cause__ = exc
        return wrapper
    _copy_links(exc, wrapper)
    return wrapper


def _copy_links(source: BaseException, target: BaseException) -> None:
    target.__traceback__ = source.__traceback__
    target.__cause__ = source.__cause__
    target.__context__ = source.__context__
    target.__suppress_context__ = source.__suppress_context__


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, builder: _Builder) -> None:
        super().__init__(io.BytesIO(data))
        self._builder = builder

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        if pid[0] == "exception":
            return self._builder.shell(pid[1])
        return _load_class(pid[1], pid[2])


def _load_class(tracker: str | None, pickled: bytes | None) -> Any:
    # cloudpickle ties a class sent by value to its identity. Loading it again would write the node's copies of its
    # methods over those of the client's own class, so the client's is taken as it is.
    known = getattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {}).get(tracker)
    if known is not None:
        return known
    if pickled is None:
        raise pickle.UnpicklingError("the class could not be pickled on the node")
    return pickle.loads(pickled)


class _Builder:
    """Makes all exceptions empty first, then fills them, so that they may refer to each other in any way."""

    def __init__(self, envelope: Envelope, node: int, slot: int) -> None:
        self._envelope = envelope
        self._node = node
        self._slot = slot
        self._shells: dict[int, BaseException] = {}
        self._whole: set[int] = set()
        self._making: set[int] = set()
        self._resolved: dict[int, type | None] = {}

    def build(self) -> BaseException:
        records = self._envelope["records"]
        for index, record in enumerate(records):
            self._fill(self.shell(index), index, record)
        for index, record in enumerate(records):
            self._link(self._shells[index], record)
        return self._shells[0]

    def shell(self, index: int) -> BaseException:
        made = self._shells.get(index)
        if made is None:
            if index in self._making:
                raise RecursionError("an exception's own pickle refers back to it")
            self._making.add(index)
            try:
                made = self._make(index, self._envelope["records"][index])
            finally:
                self._making.discard(index)
            self._shells[index] = made
        return made

    def _make(self, index: int, record: Record) -> BaseException:
        cls = self._class(record["cls"])
        if cls is not None and record["whole"] is not None:
            made = self._load(record["whole"], None)
            if type(made) is cls and isinstance(made, BaseException):
                self._whole.add(index)
                return made
        message = record["group"] or ""
        members = tuple(self.shell(member) for member in record["members"])
        if cls is not None and issubclass(cls, BaseException):
            with suppress(Exception):  # classes of C extensions refuse in their own ways
                return bare(cls, message, members)
        return self._stand_in(record, message, members)

    def _stand_in(self, record: Record, message: str, members: tuple[BaseException, ...]) -> BaseException:
        description = self._envelope["classes"][record["cls"]]
        module, qualname = description["module"], description["qualname"]
        made: BaseException
        try:
            made = bare(stand_in_class(module, qualname, self._bases(record["cls"])), message, members)
        except Exception:  # noqa: BLE001 - a look-alike under Exception is always possible
            made = bare(stand_in_class(module, qualname, (Exception,)))
        return made

    def _class(self, index: int) -> type | None:
        if index not in self._resolved:
            record = self._envelope["classes"][index]
            found: Any = None
            try:
                if record["module"] == "builtins":
                    found = getattr(builtins, record["qualname"], None)
                else:
                    found = _load_class(record["tracker"], record["pickled"])
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001
                # Whatever importing a module can do, it must not cost the failure that is being reported.
                found = None
            self._resolved[index] = found if isinstance(found, type) else None
        return self._resolved[index]

    def _bases(self, index: int) -> tuple[type, ...]:
        found: list[type] = []
        own = self._class(index)
        if own is not None:
            # It is here but refuses to be made bare.
            return (builtin_base(own),)
        for base in self._envelope["classes"][index]["bases"]:
            cls = self._class(base)
            found.extend(self._bases(base) if cls is None else (cls,))
        return tuple(found)

    def _load(self, data: bytes, default: object) -> Any:
        try:
            return _Unpickler(data, self).load()
        except KeyboardInterrupt:
            raise
        except BaseException as reason:  # noqa: BLE001 - user code may raise anything
            return RemoteRepr(str(default), reason=brief(reason)) if default is not None else None

    def _value(self, piece: Piece) -> Any:
        kind, content, *rest = piece
        if kind == "value":
            return content
        if kind == "repr":
            return RemoteRepr(content, *rest)
        loaded = self._load(content, rest[0])
        if isinstance(loaded, RemoteRepr) and not loaded.type_name:
            loaded.type_name = rest[1]
        return loaded

    def _fill(self, exc: BaseException, index: int, record: Record) -> None:
        state = {key: self._value(piece) for key, piece in record["state"].items()}
        if isinstance(exc, StandIn):
            state.update(__remote_text__=record["text"], __remote_repr__=record["repr"])
        if index not in self._whole:
            BaseException.__dict__["args"].__set__(exc, tuple(self._value(piece) for piece in record["args"]))
            for owner, name, piece in record["fields"]:
                _set_field(exc, owner, name, self._value(piece), state)
        BaseException.__dict__["__dict__"].__get__(exc).update(state)

    def _link(self, exc: BaseException, record: Record) -> None:
        cause, context = record["cause"], record["context"]
        links = {
            "__cause__": None if cause is None else self._shells[cause],
            "__context__": None if context is None else self._shells[context],
            "__suppress_context__": record["suppress"],
            "__traceback__": build(record["frames"], self._envelope["sources"], node=self._node, slot=self._slot),
        }
        for name, value in links.items():
            # Not by plain assignment: frozen classes refuse it.
            BaseException.__dict__[name].__set__(exc, value)


def _set_field(exc: BaseException, owner: str, name: str, value: object, state: dict[str, Any]) -> None:
    for cls in type(exc).__mro__:
        descriptor = vars(cls).get(name) if cls.__qualname__ == owner else None
        if descriptor is None:
            continue
        try:
            # None where nothing was set would be shown as "None" by some built-in classes.
            if value is not None or descriptor.__get__(exc) is not None:
                descriptor.__set__(exc, value)
        except (AttributeError, TypeError):
            pass
        return
    state.setdefault(name, value)
