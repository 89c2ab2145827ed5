"""What a slot imports first of all: with it, the limits of its threads are in force before NumPy is loaded.

Native libraries read the variables when they are loaded, and make their threads then. The first batch brings what the
client says about it, which goes before this.
"""

from __future__ import annotations

from skyward_sklearn import _threads

__all__: list[str] = []

_threads.limit(_threads.Limits())
