"""What a slot's process is bound to by what ran in it, and whether a group can run there all the same.

Some frameworks can form a group once in the life of a process, with members that never change. The integration of such
a one says what a process is bound to, by a function that is called in the slot before a group of its functions begins.
A process that is bound to something else is then ended, and the slot goes on in a new one.
"""

from __future__ import annotations

from typing import Final, NoReturn

from skyward.worker.pickling import loads

__all__ = ["RENEWED", "Binding"]

RENEWED: Final = 186
"""Exit code of a process that ends so that its slot goes on in a new one."""


class Binding:
    """A slot's side: asks the integration, and remembers of which task it was asked.

    Attributes:
        used: whether this process has begun a task.
    """

    __slots__ = ("_alone", "used")

    def __init__(self) -> None:
        self.used = False
        self._alone: tuple[int, bytes] | None = None  # of the next group of one: its sequence, and what to ask

    def told(self, probe: bytes, size: int) -> tuple[str | None, str]:
        """What the process is bound to, as the integration says it, and why that cannot be known or met."""
        if not probe:
            return "", ""
        try:
            return self._asked(probe, size), ""
        except Exception as error:  # noqa: BLE001  an integration's code
            return None, f"{type(error).__name__}: {error}"

    def announce(self, sequence: int, probe: bytes) -> None:
        """A group of one comes next."""
        self._alone = (sequence, probe) if probe else None

    def is_met(self, sequence: int) -> bool:
        """Whether the task can begin in this process. A process that is new would not get better by being renewed."""
        if self._alone is None or self._alone[0] != sequence or not self.used:
            return True
        bound, why = self.told(self._alone[1], 1)
        return bound is not None or bool(why)

    def begin(self, sequence: int) -> None:
        """A task begins.

        Raises:
            RuntimeError: it is a group of one that cannot run even in a new process.
            Exception: what the integration's function raises.
        """
        self.used = True
        alone, self._alone = self._alone, None
        if alone is not None and alone[0] == sequence and self._asked(alone[1], 1) is None:
            _refuse()

    def _asked(self, probe: bytes, size: int) -> str | None:
        bound = loads(probe)(size)
        if bound is not None and not isinstance(bound, str):
            raise TypeError(f"the integration's bound_to returned {bound!r}, which is neither a text nor None")
        if bound is None and not self.used:
            _refuse()
        if bound and not self.used:  # it would be renewed again and again if others say something else
            raise RuntimeError(
                f"the integration's bound_to says of a new process that it is bound to {bound!r}: where nothing has "
                "formed a group yet it must say ''; report that to the integration's authors"
            )
        return bound


def _refuse() -> NoReturn:
    raise RuntimeError(
        "a new process cannot run this function either: something that is imported ahead or that the environment sets "
        "is in its way; leave out of the pool's plugins=[...] what does not go with the function's integration"
    )
