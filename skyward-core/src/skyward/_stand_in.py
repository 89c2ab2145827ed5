"""What takes the place of things that the client cannot rebuild: values as their repr, exceptions as a look-alike."""

from __future__ import annotations

import builtins
from typing import Any, Self


class RemoteRepr(str):
    """The repr of a value that could not travel from a node. ``type_name`` was its class, ``reason`` says why."""

    __slots__ = ("reason", "type_name")

    type_name: str
    reason: str

    def __new__(cls, text: str, type_name: str = "", reason: str = "") -> Self:
        made = super().__new__(cls, text)
        made.type_name = type_name
        made.reason = reason
        return made

    def __repr__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteRepr, (str(self), self.type_name, self.reason)


def brief(value: object) -> str:
    """The repr of ``value``, or a line that says that it has none."""
    try:
        return repr(value)
    except Exception as reason:  # noqa: BLE001 - a repr is user code
        return f"<{type(value).__name__} whose repr raises {type(reason).__name__}>"


class StandIn(BaseException):
    """Mixed into the classes made for exceptions whose own class does not exist on the client.

    ``except`` clauses for any base that does exist catch them; text and repr are the original's.
    """

    remote_class: str = ""
    """Module and qualified name of the original class."""

    def __str__(self) -> str:
        return str(self.__dict__.get("__remote_text__", ""))

    def __repr__(self) -> str:
        return str(self.__dict__.get("__remote_repr__", self.__class__.__name__))

    def __reduce__(self) -> Any:
        cls = type(self)
        bases = tuple(base for base in cls.__bases__ if base is not StandIn)
        members = tuple(self.exceptions) if isinstance(self, BaseExceptionGroup) else ()
        message = self.message if isinstance(self, BaseExceptionGroup) else ""
        state = {key: value for key, value in self.__dict__.items() if key != "args"}
        return _restored, (cls.__module__, cls.__qualname__, bases, self.args, (message, members)), state


_classes: dict[tuple[str, str, tuple[type, ...]], type[BaseException]] = {}


def stand_in_class(module: str, qualname: str, bases: tuple[type, ...]) -> type[BaseException]:
    """A class named ``module.qualname`` under as many of ``bases`` as can be combined; the same one each time.

    Bases that another one already implies are left out. It always is an exception, at least an ``Exception``.
    """
    wanted = tuple(dict.fromkeys(base for base in bases if base is not object))
    wanted = tuple(
        base for base in wanted if not any(base is not other and issubclass(other, base) for other in wanted)
    )
    if not any(issubclass(base, BaseException) for base in wanted):
        wanted = (*wanted, Exception)
    key = (module, qualname, wanted)
    if key not in _classes:
        _classes[key] = _new_class(module, qualname, wanted)
    return _classes[key]


def _new_class(module: str, qualname: str, wanted: tuple[type, ...]) -> type[BaseException]:
    namespace = {
        "__module__": module,
        "__qualname__": qualname,
        "__doc__": f"Stands in for {module}.{qualname}, which cannot be imported here.",
        "remote_class": f"{module}.{qualname}",
    }
    name = qualname.rpartition(".")[2]
    # Exceptions first: a mixin that cannot be combined with them is the one to go.
    exceptions = tuple(base for base in wanted if issubclass(base, BaseException))
    candidates = [wanted, *(exceptions[:count] for count in range(len(exceptions), 0, -1))]
    candidates += [(builtin_base(base),) for base in exceptions]
    for bases in candidates:
        try:
            made: type[BaseException] = type(name, (StandIn, *bases), dict(namespace))
            if not issubclass(made, BaseExceptionGroup):
                bare(made)
        except Exception:  # noqa: BLE001, S112 - layouts clash, metaclasses and __init_subclass__ refuse
            continue
        return made
    return type(name, (StandIn, Exception), namespace)


def builtin_base(cls: type) -> type[BaseException]:
    """The nearest base of ``cls`` that Python itself defines as an exception; ``Exception`` if there is none."""
    for base in cls.__mro__:
        if base.__module__ == "builtins" and getattr(builtins, base.__name__, None) is base:
            return base if issubclass(base, BaseException) else Exception
    return Exception


def bare(cls: type[BaseException], message: str = "", members: tuple[BaseException, ...] = ()) -> BaseException:
    """An instance of ``cls`` made without any code of the class itself; ``members`` are those of a group.

    Raises ``TypeError`` if the class cannot be made that way.
    """
    made: object = None
    if issubclass(cls, BaseExceptionGroup):
        made = BaseExceptionGroup.__new__(cls, message, members)
    else:
        for base in cls.__mro__:
            if base.__module__ != "builtins" or not issubclass(base, BaseException):
                continue
            try:
                made = base.__new__(cls)
            except TypeError:
                continue
            break
    if not isinstance(made, cls):
        raise TypeError(f"cannot make a {cls.__qualname__} without its initialiser")
    return made


def _restored(
    module: str,
    qualname: str,
    bases: tuple[type, ...],
    args: tuple[object, ...],
    group: tuple[str, tuple[BaseException, ...]],
) -> BaseException:
    made = bare(stand_in_class(module, qualname, bases), *group)
    made.args = args
    return made
