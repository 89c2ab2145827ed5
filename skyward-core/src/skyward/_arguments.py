"""Whether a function takes certain arguments, answered without calling it and in well under a microsecond."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

__all__ = ["Arguments"]

_VARARGS, _VARKEYWORDS = 0x04, 0x08  # of co_flags
_plain_function = type(lambda: None)


class Arguments:
    """What ``fn`` takes. Positional arguments alone fit when their number is from ``least`` to ``most``.

    ``most`` is -1 where the number alone does not decide: a keyword is required, or ``fn`` is no plain function and
    its signature has to be asked each time. A callable that tells no signature takes anything.
    """

    __slots__ = (
        "_fn",
        "_keywords",
        "_limit",
        "_named",
        "_plain",
        "_required",
        "_signature",
        "_varkeywords",
        "least",
        "most",
    )

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._signature: inspect.Signature | None = None
        self._plain = type(fn) is _plain_function
        self.least, self.most = 0, -1
        if self._plain:
            self._read(fn)
            return
        import inspect  # plain functions, nearly all, are read without it

        try:
            self._signature = inspect.signature(fn)
        except (TypeError, ValueError):
            self.most = sys.maxsize

    def _read(self, fn: Any) -> None:
        code = fn.__code__
        count, unnamed = code.co_argcount, code.co_posonlyargcount
        names = code.co_varnames
        only = names[count : count + code.co_kwonlyargcount]
        required = names[: count - len(fn.__defaults__ or ())]
        # No keyword is called "", so a positional-only name can be satisfied by position alone.
        self._required = tuple("" if at < unnamed else name for at, name in enumerate(required))
        self._keywords = tuple(name for name in only if name not in (fn.__kwdefaults__ or {}))
        self._named = {name: at for at, name in enumerate(names[:count]) if at >= unnamed}
        self._named.update(dict.fromkeys(only, sys.maxsize))
        self._varkeywords = bool(code.co_flags & _VARKEYWORDS)
        self._limit = sys.maxsize - 1 if code.co_flags & _VARARGS else count
        self.least = len(required)
        self.most = -1 if self._keywords else self._limit

    def check(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise ``TypeError`` if ``fn``, called ``name``, would refuse these before its first line."""
        if self._fits(len(args), kwargs) if self._plain else self._signature is None:
            return
        import inspect  # it words the error, and knows what is no plain function

        signature = self._signature or inspect.signature(self._fn, follow_wrapped=False)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}() {error}: it takes {name}{signature}") from None

    def _fits(self, given: int, kwargs: dict[str, Any]) -> bool:
        if given > self._limit:
            return False
        for key in kwargs:
            at = self._named.get(key)
            if at is None:
                if not self._varkeywords:
                    return False
            elif at < given:
                return False
        for key in self._required[given:]:  # a loop is twice as fast as all(...) for a name or two
            if key not in kwargs:
                return False
        return not self._keywords or all(key in kwargs for key in self._keywords)
