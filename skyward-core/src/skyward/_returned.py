"""Unpickling of results whose classes travel by value.

A class that ``__main__`` defines goes to a node by value, and its instances bring it back by value. cloudpickle finds
the original again, and then overwrites its attributes with copies of what went out: methods that no longer see this
process's globals, and class attributes as they were. Here the original is left as it is.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Buffer, Sequence
from typing import Any

from cloudpickle import cloudpickle

__all__ = ["careful_loads"]


def careful_loads(data: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
    """As ``pickle.loads``, but classes that this process knows already keep all their attributes."""
    return _Unpickler(io.BytesIO(data), buffers=buffers).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, *, buffers: Sequence[Buffer]) -> None:
        super().__init__(file, buffers=buffers)
        self._kept: dict[int, object] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        if module == cloudpickle.__name__:
            if name in {"_make_skeleton_class", "_make_skeleton_enum"}:
                return self._known_or(super().find_class(module, name))
            if name == "_class_setstate":
                return self._set_state
        return super().find_class(module, name)

    def _known_or(self, make: Any) -> Any:
        def skeleton(*args: Any) -> Any:
            tracker = args[-2]  # the last but one of both functions' arguments
            known = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
            if known is None:
                return make(*args)
            self._kept[id(known)] = known
            return known

        return skeleton

    def _set_state(self, obj: Any, state: Any) -> Any:
        return obj if id(obj) in self._kept else cloudpickle._class_setstate(obj, state)
