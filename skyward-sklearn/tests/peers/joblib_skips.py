"""Which of joblib's own tests of loky do not hold for a pool, and why. Names that no test has make the run fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["OTHERWISE", "SKIPS", "Skip"]


class Skip(NamedTuple):
    """Tests by their names, with or without the brackets of their parameters.

    ``since`` is the first version of joblib that has them.
    """

    reason: str
    names: tuple[str, ...]
    since: str = "1.5.0"

    def here(self, version: str) -> Iterator[tuple[str, str]]:
        """The names with the reason, where this version has them."""
        if _numbers(version) >= _numbers(self.since):
            yield from ((name, self.reason) for name in self.names)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:3] if part.isdecimal()]


GENERATORS = ("generator", "generator_unordered")

SKIPS = (
    Skip(
        "compares the cores of this machine, for joblib's threads, with the slots of the pool",
        (
            "test_effective_n_jobs_None[negative-int-parallel_config]",
            "test_effective_n_jobs_None[negative-int-parallel_backend]",
        ),
    ),
    Skip(
        "a KeyboardInterrupt that a task raises by itself arrives as TaskError, so that it does not pass for Ctrl-C",
        ("test_error_capture[loky]",),
    ),
    Skip(
        "arrays are mapped from a file of the slot's, and read-only, but no instances of numpy.memmap",
        (
            "test_auto_memmap_on_arrays_from_generator[loky]",
            "test_memmapping_leaks[loky]",
            "test_memmap_returned_as_regular_array[loky]",
        ),
    ),
    Skip(
        "refused: tasks on other machines cannot write into the client's arrays",
        ("test_numpy_arrays_use_different_memory[r+]", "test_numpy_arrays_use_different_memory[w+]"),
    ),
    Skip(
        "expects other processes for another initializer; a slot keeps its own, and calls each initializer there",
        ("test_initializer_not_reused",),
        since="1.5.0",
    ),
    Skip(
        "expects two jobs to run in the same two processes each time; here they run in any two of four slots",
        ("test_initializer_reused[2]",),
        since="1.5.0",
    ),
)

OTHERWISE: dict[str, dict[str, object]] = {
    # Loky refuses to run below threads, where it would fork, and warns. A pool runs there as anywhere.
    "test_nested_parallel_warnings[threading-loky-True]": {"expected": False},
    # Loky fails when another generator is dropped, which shuts its one executor down. A pool goes on.
    **{
        f"test_multiple_generator_call_separated_gc[{one}-{two}-loky-True]": {"error": False}
        for one in GENERATORS
        for two in GENERATORS
    },
}
"""Tests that are run with the outcome that joblib expects of its other backends, where a pool does more than loky."""
