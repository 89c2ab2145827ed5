"""What ``skyward reap`` has found and done, put together for people and as JSON."""

from __future__ import annotations

import time
from typing import Any

from skyward import _clock
from skyward._accounts import Account
from skyward._cli._providers import Choice
from skyward._ledger import fingerprint
from skyward._plugins_kinds import FIRST_PARTY
from skyward._reap import Found, Orphan, Removed
from skyward._teardown import LATE
from skyward.model.redact import redact

__all__ = ["Findings"]

_VERSION = 1


class Findings:
    """Grows while the command works.

    Args:
        choice: who is asked.
        dry_run: whether nothing is to be removed.

    Attributes:
        found: what there was; ``None`` before that is known.
        gone: provider and id of each machine that has been removed so far.
        removed: what became of it; ``None`` when nothing is removed, or not to the end.
        cut_off: whether the work was broken off.
    """

    def __init__(self, choice: Choice, *, dry_run: bool) -> None:
        self._choice = choice
        self._dry_run = dry_run
        self.found: Found | None = None
        self.gone: list[tuple[str, str]] = []
        self.removed: Removed | None = None
        self.cut_off = False

    # what it comes to

    @property
    def left(self) -> list[str]:
        """The machines that were found and are not gone, as provider and id."""
        orphans = () if self.found is None else self.found.orphans
        return [f"{each.provider.name} {each.machine.id}" for each in orphans if not self._is_gone(each)]

    def _is_gone(self, orphan: Orphan) -> bool:
        return (orphan.provider.name, orphan.machine.id) in self.gone

    @property
    def problems(self) -> list[str]:
        """What could not be found out or removed, and what to do about it."""
        if self.found is None:
            return ["broken off before it was known what is left over; nothing was removed: run it again"]
        problems = [f"{', '.join(self.left)} may still run: run it again"] if self.cut_off and self.left else []
        problems += self.found.problems if self.removed is None else self.removed.problems
        problems += self._silent if self._choice.named else []
        unknown = [said for pool in self._kept() for said in self._unknown(pool)]
        if self.removed is not None and not problems and not unknown and not self._choice.named:
            unknown = [f"pool {pool.pool_id} is dealt with by another process: run it again" for pool in self._kept()]
        return [redact(problem) for problem in dict.fromkeys([*problems, *unknown])]

    @property
    def notes(self) -> list[str]:
        """Who could not be asked, where neither a ledger nor the user says that it matters."""
        return [] if self._choice.named else [redact(note) for note in self._silent]

    @property
    def _silent(self) -> list[str]:
        """Who could not be asked, where no ledger says that it matters."""
        unanswered = () if self.found is None else self.found.unanswered
        silent = [f"{each.name}: {why}" for each, why in unanswered if not (self.found and self.found.concerns(each))]
        return list(dict.fromkeys([*self._choice.notes, *silent]))

    def _kept(self) -> list[Account]:
        """The pools of dead clients whose ledgers are not done with."""
        pools = () if self.found is None else self.found.pools
        done = () if self.removed is None else self.removed.pools
        return [pool for pool in pools if pool.pool_id not in done]

    def _unknown(self, pool: Account) -> list[str]:
        """Why nobody can tell what is left of a pool: a provider that it bought from is asked with other settings."""
        assert self.found is not None
        over = pool.deadline is not None and _clock.current().time() > pool.deadline + LATE
        said = []
        for name in sorted(pool.asked & set(self._choice.names) if self._choice.named else pool.asked):
            marks = {fingerprint(each) for each in self.found.providers if each.name == name}
            missing = pool.settings.get(name, frozenset()) - marks - {""}
            if not marks:
                package = FIRST_PARTY.get(name, "the plugin that brings it")
                why = f"{name} cannot be asked: install {package}"
            elif missing and not over:
                why = f"{name} was used with settings that the ledger does not tell: open a pool with them"
            else:
                continue
            said.append(f"pool {pool.pool_id} may have left machines, and {why}, or remove {pool.path} if none is left")
        return said

    # for people

    def lines(self) -> list[str]:
        """A line for each machine that was found."""
        return [] if self.found is None else [_line(orphan) for orphan in self.found.orphans]

    def waiting(self) -> str:
        """The answer to a first Ctrl-C."""
        left = ", ".join(self.left) or "what dead clients left"
        return f"still removing {left}; once more to go without waiting for that"

    def summary(self) -> str:
        """The last line."""
        if self.left and self._dry_run:
            return f"{len(self.left)} left over; without --dry-run they are removed"
        if self.left:
            return f"{len(self.gone)} removed, {len(self.left)} left over: {', '.join(self.left)}"
        if self.problems:
            return f"{len(self.gone)} removed; what else is left over is not known"
        return f"{len(self.gone)} removed, nothing is left over" if self.gone else "nothing is left over"

    # as JSON

    def told(self) -> dict[str, Any]:
        """What is written as JSON; its shape is documented in docs/reap.md."""
        orphans = () if self.found is None else self.found.orphans
        pools = () if self.found is None else self.found.pools
        kept = {pool.pool_id for pool in self._kept()}
        unanswered = {id(provider) for provider, _ in (() if self.found is None else self.found.unanswered)}
        asked = () if self.found is None else self.found.providers
        return {
            "version": _VERSION,
            "dry_run": self._dry_run,
            "asked": sorted({provider.name for provider in asked if id(provider) not in unanswered}),
            "machines": [
                {
                    "provider": each.provider.name,
                    "id": each.machine.id,
                    "pool": each.machine.pool_id,
                    "owner": each.machine.owner,
                    "deadline": each.machine.deadline,
                    "why": each.why,
                    "removed": self._is_gone(each),
                }
                for each in orphans
            ],
            "removed": [{"provider": provider, "id": machine} for provider, machine in self.gone],
            "pools": [
                {
                    "pool": pool.pool_id,
                    "owner": pool.owner,
                    "deadline": pool.deadline,
                    "providers": sorted(pool.asked),
                    "ledger": str(pool.path),
                    "removed": pool.pool_id not in kept,
                }
                for pool in pools
            ],
            "problems": self.problems,
            "notes": self.notes,
        }


def _line(orphan: Orphan) -> str:
    machine = orphan.machine
    deadline = "none"
    if machine.deadline is not None:
        deadline = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(machine.deadline))
    return (
        f"{orphan.provider.name} {machine.id}  pool {machine.pool_id}  owner {machine.owner or 'unknown'}  "
        f"deadline {deadline}  {orphan.why}"
    )
