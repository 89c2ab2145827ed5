"""``@compute``: make a function's calls lazy, so that they can be sent to a pool."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Concatenate, Protocol, Self, cast, overload

from skyward._arguments import Arguments
from skyward.computation import PendingCompute
from skyward.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ComputeFunction", "compute"]

_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200  # of co_flags; inspect costs milliseconds to import
_COPIED = ("__module__", "__name__", "__qualname__", "__doc__", "__type_params__")


class ComputeFunction[**P, R]:
    """A function whose calls wait to be dispatched; made by ``@compute``.

    Calling it checks the arguments against the signature (``TypeError`` as a plain call raises) and gives a
    ``PendingCompute``; nothing runs. ``local`` is the function itself, to run here and now.

    ``fn`` is the undecorated function, ``name`` what it is called in events and messages, and ``retry`` how many more
    times a call may be run when its node or slot was lost, or nobody can know whether it ran. ``together`` is for
    integrations: a broadcast of the function runs in every slot of the pool as one group, see docs/plugins.md.
    """

    fn: Callable[..., Any]
    retry: int
    together: bool
    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, fn: Callable[P, R], retry: int = 0, together: bool = False) -> None:  # noqa: FBT001, FBT002
        self.fn = fn
        self.retry = retry
        self.together = together
        own = self.__dict__
        for name in _COPIED:
            if hasattr(fn, name):
                own[name] = getattr(fn, name)
        own["__wrapped__"] = fn
        for name, value in getattr(fn, "__dict__", {}).items():
            own.setdefault(name, value)
        # What the function takes is read at the first call: while it is being unpickled it may not be whole.
        self._arguments: Arguments | None = None
        self._least, self._most = 0, -1

    @property
    def name(self) -> str:
        """What the function calls itself; the type's name for a callable without a name."""
        return str(getattr(self.fn, "__name__", None) or type(self.fn).__name__)

    @property
    def local(self) -> Callable[P, R]:
        """The function as it was written: ``f.local(1)`` runs at once, in this process."""
        return self.fn

    @property
    def __skyward_local__(self) -> Callable[..., Any]:
        """What a node calls. A node reads it of anything that has it, without importing this module."""
        return self.fn

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> PendingCompute[R]:
        """Hold the call; nothing runs. Raises ``TypeError`` for arguments that the function does not take."""
        if kwargs or not self._least <= len(args) <= self._most:
            self._check(args, kwargs)
        frame = sys._getframe(1)
        return PendingCompute(self, args, kwargs, (frame.f_code, frame.f_lasti))

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        arguments = self._arguments
        if arguments is None:
            arguments = self._arguments = Arguments(_under_blocks(self.fn))
            self._least, self._most = arguments.least, arguments.most
        arguments.check(self.name, args, kwargs)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__[S, **Q, T](
        self: ComputeFunction[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> ComputeFunction[Q, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the instance becomes the first argument, and travels with the call."""
        return _Method(self, instance) if instance is not None and hasattr(self.fn, "__get__") else self

    def __reduce__(self) -> str | tuple[Any, ...]:
        if _found_by_name(self, getattr(self, "__module__", None), path := getattr(self, "__qualname__", "")):
            return str(path)
        return ComputeFunction, (self.fn, self.retry, self.together)

    def __repr__(self) -> str:
        import inspect  # only people call this

        try:
            signature = str(inspect.signature(self.fn))
        except (TypeError, ValueError):
            signature = "(...)"
        where = f"{self.__module__}." if getattr(self, "__module__", None) else ""
        return f"<compute function {where}{getattr(self, '__qualname__', self.name)}{signature}>"


class _Method[**P, R](ComputeFunction[P, R]):
    """A compute function bound to an instance. Its pendings name the unbound function, so that it is sent only once."""

    def __init__(self, function: ComputeFunction[..., R], instance: object) -> None:
        super().__init__(cast("Callable[P, R]", function.fn.__get__(instance)), function.retry, function.together)
        self._function = function
        self._instance = instance

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> PendingCompute[R]:
        function = self._function
        args_with_self = (self._instance, *args)
        if kwargs or not function._least <= len(args_with_self) <= function._most:
            function._check(args_with_self, kwargs)
        frame = sys._getframe(1)
        return PendingCompute(function, args_with_self, kwargs, (frame.f_code, frame.f_lasti))

    def __reduce__(self) -> tuple[Any, ...]:
        return _Method, (self._function, self._instance)


def _under_blocks(fn: Any) -> Any:
    """The function under what integrations have put around it by `grouped`, which takes what that one takes."""
    while (block := getattr(fn, "skyward_block", None)) and block[0] is getattr(fn, "__wrapped__", None):
        fn = block[0]
    return fn


def _found_by_name(function: object, module: str | None, path: str) -> bool:
    """Whether another process finds ``function`` by importing ``module`` and following ``path``."""
    if not module or module == "__main__" or "<locals>" in path:
        return False
    found: Any = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is not function:
        return False
    cloudpickle = sys.modules.get("cloudpickle")
    by_value = cloudpickle.list_registry_pickle_by_value() if cloudpickle else ()
    return not any(module == name or module.startswith(f"{name}.") for name in by_value)


class _Decorator(Protocol):
    @overload
    def __call__[**P, R](self, fn: ComputeFunction[P, R], /) -> ComputeFunction[P, R]: ...
    @overload
    def __call__[**P, R](self, fn: Callable[P, R], /) -> ComputeFunction[P, R]: ...


@overload
def compute[**P, R](fn: ComputeFunction[P, R], /) -> ComputeFunction[P, R]: ...
@overload
def compute[**P, R](fn: Callable[P, R], /) -> ComputeFunction[P, R]: ...
@overload
def compute(*, retry: int = 0) -> _Decorator: ...
def compute(fn: Any = None, /, *, retry: int | None = None) -> Any:
    """Make calls of a function lazy: ``@compute``, or ``@compute(retry=2)``.

        @compute
        def square(x: int) -> int:
            return x * x

        square(3) >> pool      # 9, from a node of the pool
        square.local(3)        # 9, from here

    ``retry`` is how many more times a call may be run when its node or slot was lost, or when nobody can know whether
    it ran; 0 by default. The function must then tolerate being run twice. What the function itself raises is its
    answer, and is never retried.

    Decorating a compute function again changes nothing, except for a ``retry`` that is given. Raises
    ``ConfigurationError`` for what cannot run on a node: classes, coroutine functions, generator functions, or what is
    not callable; and for a ``retry`` that is no whole number from 0 up.
    """
    if retry is not None and (type(retry) is not int or retry < 0):
        raise ConfigurationError(f"retry={retry!r} is not a number of times: pass 0, 1, 2, ...")
    if fn is None:
        return lambda function: _compute(function, retry)
    return _compute(fn, retry)


def _compute(fn: Any, retry: int | None) -> ComputeFunction[..., Any]:
    """``compute`` with both arguments at hand; ``retry=None`` leaves it as it is, or 0."""
    if isinstance(fn, ComputeFunction):
        return fn if retry is None or retry == fn.retry else ComputeFunction(fn.fn, retry, fn.together)
    _refuse_what_cannot_run(fn)
    return ComputeFunction(fn, retry or 0)


def _refuse_what_cannot_run(fn: Any) -> None:
    name = getattr(fn, "__name__", None) or repr(fn)
    if isinstance(fn, (staticmethod, classmethod, property)):
        kind = type(fn).__name__
        raise ConfigurationError(f"@compute stands above @{kind} on {name}: put @{kind} above and @compute below it")
    if isinstance(fn, type):
        raise ConfigurationError(f"{name} is a class: decorate a function that makes the instance and uses it")
    if isinstance(fn, int):
        raise ConfigurationError(f"@compute takes no positional number: write @compute(retry={fn})")
    if not callable(fn):
        raise ConfigurationError(
            f"@compute needs a function, not {name}: write @compute or @compute(retry=2) above a def"
        )
    code = getattr(fn, "__code__", None) or getattr(type(fn).__call__, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    if flags & _COROUTINE:
        raise ConfigurationError(
            f"{name} is a coroutine function, and a node runs plain functions: "
            f"write a plain function that returns asyncio.run({name}(...)) and decorate that"
        )
    if flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise ConfigurationError(
            f"{name} is a generator function, and a generator cannot leave the node that runs it: "
            f"return a list or another whole value instead of yielding"
        )
