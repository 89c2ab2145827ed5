"""What the ledgers below the user's state folder tell of pools, and whether the client of each still lives."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from skyward._ledger import state_folder

__all__ = ["Account", "claimed", "read_all"]


@frozen
class Account:
    """What a ledger tells of a pool.

    Attributes:
        path: the ledger.
        pool_id: the pool's unique name, the tag of its machines.
        alive: whether its client lives.
        owner: who started it, ``user@host``.
        deadline: seconds since the epoch at which its machines end themselves; ``None`` for no limit.
        settings: the `fingerprint` of each provider's settings, by the provider's name.
        recipes: the `recipe` for each of these fingerprints whose settings can be made again.
        asked: the providers that were given an order: nobody else can have machines of this pool.
        unclear: seconds since the epoch at which an order was last in doubt, because it had no answer yet or has got
            none that is clear; 0 when there is none.
        machines: ids by provider, of the machines that were launched and are not known to be gone.
        prices: US dollars for an hour of each machine that was launched, by provider and id, where it was known.
    """

    path: Path
    pool_id: str
    alive: bool
    owner: str = ""
    deadline: float | None = None
    settings: Mapping[str, frozenset[str]] = field(factory=dict)
    recipes: Mapping[str, str] = field(factory=dict)
    asked: frozenset[str] = frozenset()
    unclear: float = 0.0
    machines: Mapping[str, tuple[str, ...]] = field(factory=dict)
    prices: Mapping[tuple[str, str], float] = field(factory=dict)


def read_all(folder: Path | None = None) -> list[Account]:
    """Every ledger that can be read, with whether its client lives."""
    accounts: list[Account] = []
    for path in sorted((folder or state_folder()).glob("*.jsonl")):
        with claimed(path) as free, contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            account = _account(path, path.read_text(encoding="utf-8").splitlines(), alive=not free)
            if account is not None:
                accounts.append(account)
    return accounts


@contextlib.contextmanager
def claimed(path: Path) -> Generator[bool]:
    """Whether a ledger's client is dead and nobody else deals with the ledger; inside the block nobody else will.

    A ledger that is gone is nobody's to deal with either.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except OSError:
            free = False
        yield free


def _account(path: Path, lines: Iterable[str], *, alive: bool) -> Account | None:
    """Add up the facts; ``None`` for what is no ledger. The last line may have been cut off by the client's death."""
    facts: list[dict[str, Any]] = []
    empty = True
    for line in lines:
        empty = False
        with contextlib.suppress(ValueError):
            fact = json.loads(line)
            if isinstance(fact, dict):
                facts.append(fact)
    account = Account(path, path.stem, alive)
    if empty:
        return account
    if not facts or facts[0].get("fact") != "opened":
        return None
    return _added_up(account, facts)


def _added_up(account: Account, facts: Sequence[dict[str, Any]]) -> Account:
    opened = facts[0]
    names: list[str] = list(opened.get("providers", ()))
    marks: list[str] = list(opened.get("settings", ())) or [""] * len(names)
    machines: dict[str, dict[str, None]] = {}
    orders: list[str] = []
    open_orders: dict[str, float] = {}
    doubts = [0.0]
    prices: dict[tuple[str, str], float] = {}
    for fact in facts:
        order = f"{fact.get('provider')} {fact.get('nodes')}"
        if fact["fact"] == "launching":
            orders.append(str(fact["provider"]))
            open_orders[order] = float(fact["time"])
        elif fact["fact"] in ("answered", "unclear"):
            open_orders.pop(order, None)
            doubts += [float(fact["time"])] if fact["fact"] == "unclear" else []
        those = machines.setdefault(str(fact.get("provider")), {})
        if fact["fact"] == "launched":
            those.update(dict.fromkeys(fact["ids"]))
            if isinstance(fact.get("price"), (int, float)):
                prices.update({(str(fact["provider"]), name): float(fact["price"]) for name in fact["ids"]})
        elif fact["fact"] == "terminated":
            for name in fact["ids"]:
                those.pop(name, None)
    return evolve(
        account,
        owner=str(opened.get("owner", "")),
        deadline=next((fact["deadline"] for fact in reversed(facts) if "deadline" in fact), None),
        settings={name: frozenset(mark for of, mark in zip(names, marks, strict=True) if of == name) for name in names},
        recipes={mark: text for mark, text in zip(marks, opened.get("recipes", ()), strict=False) if mark and text},
        asked=frozenset(orders),
        unclear=max([*doubts, *open_orders.values()]),
        machines={name: tuple(ids) for name, ids in machines.items() if ids},
        prices=prices,
    )
