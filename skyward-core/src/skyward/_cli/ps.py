"""``skyward ps``: list the machines that run anywhere, by their tags."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, frozen

from skyward._cli._looking import add_common, each, look
from skyward._cli._output import Output, Parser

if TYPE_CHECKING:
    from skyward._accounts import Account
    from skyward._cli._providers import Choice
    from skyward.model.instance import Instance  # noqa: TC004  nothing reads these hints at run time
    from skyward.spi.provider import Provider

__all__ = ["run"]

_NAME = "skyward ps"
_DESCRIPTION = """\
List the machines of this account that bear the tag of a pool, at every installed provider. Nothing is changed.
"""
_EPILOG = """\
exit status:
  0    everybody who was to be asked has answered
  1    somebody has not, who was named by --provider or has machines by what a ledger tells
  2    the command line is wrong
  130  interrupted by Ctrl-C (143 by SIGTERM)

`skyward reap` removes those that programs which are gone left behind. docs/reap.md tells more.
"""
_HEAD = ("PROVIDER", "ID", "POOL", "NODE", "OWNER", "STATE", "CLIENT", "DEADLINE", "PRICE/H")
_CLIENT = {True: "runs", False: "gone", None: "?"}
_VERSION = 1


@frozen
class _Machine:
    """What was found; ``alive`` is whether its client lives, ``None`` where that cannot be known from here."""

    provider: str
    instance: Instance
    price: float | None
    alive: bool | None


@define
class _Found:
    """Grows while the command works."""

    machines: list[_Machine] = Factory(list)
    asked: list[str] = Factory(list)
    notes: list[str] = Factory(list)
    problems: list[str] = Factory(list)


def run(arguments: Sequence[str]) -> int:
    """Look and print; the exit status."""
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("--pool", metavar="ID", help="machines of this pool alone")
    add_common(parser)
    options = parser.read(arguments)
    from skyward._accounts import read_all
    from skyward._cli._providers import choose

    accounts = read_all()
    choice = choose(options.provider, accounts, command=_NAME, living=True)
    found = _Found(notes=list(choice.notes))
    number = look(lambda: _work(choice, options.pool, accounts, found))
    _report(found, as_json=options.json, interrupted=bool(number))
    return 128 + number if number else 1 if found.problems else 0


async def _work(choice: Choice, pool: str | None, accounts: Sequence[Account], found: _Found) -> None:
    from skyward._visiting import opened, owned

    async def ask(provider: Provider) -> list[Instance]:
        async with opened(provider, patient=False) as seller:
            return [machine for machine in await owned(seller, pool, patient=False) if pool in (None, machine.pool_id)]

    machines: dict[tuple[str, str, str], _Machine] = {}
    for provider, answer in await each(choice.providers, ask):
        if isinstance(answer, str):
            concerned = choice.named or any(_may_run(account, provider.name) for account in accounts)
            (found.problems if concerned else found.notes).append(f"{provider.name}: {answer}")
            continue
        found.asked.append(provider.name)
        for machine in answer:  # several settings of one provider may lead to the same machine
            machines[provider.name, machine.pool_id, machine.id] = _seen(provider.name, machine, accounts)
    found.machines = sorted(
        machines.values(), key=lambda each: (each.provider, each.instance.pool_id, each.instance.node, each.instance.id)
    )


def _may_run(account: Account, provider: str) -> bool:
    """Whether a pool may still have machines at a provider, by what its ledger tells."""
    from skyward import _clock
    from skyward._teardown import LATE

    over = account.deadline is not None and _clock.current().time() > account.deadline + LATE
    return provider in account.asked and not over


def _seen(provider: str, machine: Instance, accounts: Sequence[Account]) -> _Machine:
    from skyward._client import client_lives

    price = None if machine.offer is None else machine.offer.price
    alive = client_lives(machine.client)
    for account in accounts:
        if account.pool_id == machine.pool_id:
            price = account.prices.get((provider, machine.id), price)
            alive = account.alive
    return _Machine(provider, machine, price, alive)


def _report(found: _Found, *, as_json: bool, interrupted: bool) -> None:
    output = Output()
    for problem in found.problems:
        output.warn(f"{_NAME}: {problem}")
    if as_json:
        output.say(json.dumps({**_told(found), "interrupted": interrupted}, indent=2))
        return
    if found.machines:
        from skyward._cli._tables import table

        for line in table(_HEAD, [_row(machine) for machine in found.machines], ("NODE", "PRICE/H")):
            output.say(line)
    for note in found.notes:
        output.say(f"not asked: {note}")
    if interrupted:
        output.warn(f"{_NAME}: interrupted")
        return
    output.say(_summary(found))


def _summary(found: _Found) -> str:
    if not found.machines:
        return "no machine is known to run" if found.problems else "no machine runs"
    from skyward._spending import amount

    prices = [each.price for each in found.machines if each.price is not None]
    cost = f", {amount(sum(prices))} an hour" if any(prices) else ""
    unknown = len(found.machines) - len(prices)
    rest = f" and {unknown} of unknown price" if cost and unknown else ""
    return f"{len(found.machines)} machine(s){cost}{rest}"


def _row(machine: _Machine) -> tuple[str, ...]:
    from skyward._spending import amount

    instance = machine.instance
    return (
        machine.provider,
        instance.id,
        instance.pool_id or "?",
        str(instance.node),
        instance.owner or "?",
        instance.state.value,
        _CLIENT[machine.alive],
        _moment(instance.deadline),
        "?" if machine.price is None else amount(machine.price),
    )


def _moment(deadline: float | None) -> str:
    if deadline is None:
        return "none"
    from skyward import _clock
    from skyward._display.text import duration

    left = deadline - _clock.current().time()
    when = f"in {duration(left)}" if left > 0 else "over"
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(deadline))} ({when})"


def _told(found: _Found) -> dict[str, Any]:
    """What is written as JSON; its shape is documented in docs/reap.md."""
    return {
        "version": _VERSION,
        "asked": sorted(set(found.asked)),
        "machines": [
            {
                "provider": each.provider,
                "id": each.instance.id,
                "pool": each.instance.pool_id or None,
                "node": each.instance.node,
                "owner": each.instance.owner or None,
                "state": each.instance.state.value,
                "client_alive": each.alive,
                "deadline": each.instance.deadline,
                "price": each.price,
                "ip": each.instance.ip,
            }
            for each in found.machines
        ],
        "problems": found.problems,
        "notes": found.notes,
    }
