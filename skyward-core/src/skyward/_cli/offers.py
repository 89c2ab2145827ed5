"""``skyward offers``: compare what the installed providers sell."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from skyward._cli._looking import add_common, each, look
from skyward._cli._output import Output, Parser, UsageProblem

if TYPE_CHECKING:
    from skyward._cli._providers import Choice
    from skyward.model.offer import Offer  # noqa: TC004  nothing reads these hints at run time
    from skyward.model.spec import ComputeSpec
    from skyward.spi.provider import Provider

__all__ = ["run"]

_NAME = "skyward offers"
_DESCRIPTION = """\
Compare what the installed providers sell that meets a request, the cheapest first. Nothing is bought. Providers are
asked with their default settings, as in sky.AWS().
"""
_EPILOG = """\
exit status:
  0    something is on offer
  1    nothing is
  2    the command line is wrong
  130  interrupted by Ctrl-C (143 by SIGTERM)

docs/buying.md tells more.
"""
_HEAD = ("PROVIDER", "MACHINE", "REGION", "MARKET", "VCPU", "MEMORY", "ACCELERATOR", "EACH/H", "ALL/H", "LEFT")
_RIGHT = ("VCPU", "MEMORY", "EACH/H", "ALL/H", "LEFT")
_VERSION = 1


@define
class _Found:
    """Grows while the command works."""

    offers: list[Offer] = Factory(list)
    asked: list[str] = Factory(list)
    notes: list[str] = Factory(list)
    elsewhere: list[str] = Factory(list)
    """What else there is at whom, where nothing meets the request."""
    other_market: int = 0
    dear: list[Offer] = Factory(list)


def run(arguments: Sequence[str]) -> int:
    """Ask, compare, print; the exit status."""
    options = _options(arguments)
    from skyward._cli._providers import choose

    spec = _spec(options)
    choice = choose(options.provider, (), command=_NAME)
    found = _Found(notes=list(choice.notes))
    number = look(lambda: _work(choice, spec, options, found))
    _report(found, options, interrupted=bool(number))
    return 128 + number if number else 0 if found.offers else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("--accelerator", metavar="NAME", help="what each node must have: A100, H100:4")
    parser.add_argument("--nodes", default="1", metavar="N", help="number of machines; default: 1")
    parser.add_argument("--cpu", metavar="N", help="virtual CPUs that each must have at least")
    parser.add_argument("--memory", metavar="SIZE", help="memory that each must have at least: 32GB")
    parser.add_argument("--machine", metavar="TYPE", help="the provider's own name of a machine type")
    parser.add_argument("--market", metavar="MARKET", help="spot or on-demand alone")
    parser.add_argument("--max-hourly-cost", metavar="DOLLARS", help="what an hour of all nodes may cost together")
    parser.add_argument("--limit", default="30", metavar="N", help="lines at most, 0 for all; default: 30")
    add_common(parser)
    options = parser.read(arguments)
    options.nodes = _number("nodes", options.nodes, 1)
    options.limit = _number("limit", options.limit, 0)
    options.cpu = None if options.cpu is None else _number("cpu", options.cpu, 1)
    options.max_hourly_cost = None if options.max_hourly_cost is None else _dollars(options.max_hourly_cost)
    if options.market not in (None, "spot", "on-demand"):
        from skyward.model.nearest import did_you_mean

        near = did_you_mean(options.market, ("spot", "on-demand"))
        raise UsageProblem(f"{_NAME}: --market is {options.market!r}{near}")
    return options


def _spec(options: argparse.Namespace) -> ComputeSpec:
    from skyward.errors import ConfigurationError
    from skyward.model.accelerator import Accelerator
    from skyward.model.image import Image
    from skyward.model.memory import parse_memory
    from skyward.model.spec import ComputeSpec

    try:
        return ComputeSpec(
            nodes=options.nodes,
            image=Image(),
            machine=options.machine,
            accelerator=None if options.accelerator is None else Accelerator.parse(options.accelerator),
            cpu=options.cpu,
            memory_gb=None if options.memory is None else parse_memory(options.memory),
        )
    except ConfigurationError as error:
        raise UsageProblem(f"{_NAME}: {error}") from error


async def _work(choice: Choice, spec: ComputeSpec, options: argparse.Namespace, found: _Found) -> None:
    from skyward._market import answered, fitting
    from skyward._visiting import opened

    async def ask(provider: Provider) -> tuple[Offer, ...]:
        async with opened(provider, patient=False) as seller:
            return await answered(provider, "offers", lambda: fitting(seller.session, spec))

    everything: list[Offer] = []
    for provider, answer in await each(choice.providers, ask):
        if isinstance(answer, str):
            found.notes.append(f"{provider.name}: {answer}")
        else:
            found.asked.append(provider.name)
            everything += answer
    if not everything:
        await _look_around(choice, spec, found)
    wanted = [offer for offer in everything if options.market in (None, offer.market)]
    found.other_market = len(everything) - len(wanted)
    wanted.sort(key=_order(options.nodes))
    found.offers = [offer for offer in wanted if _within(offer, options)]
    found.dear = [offer for offer in wanted if not _within(offer, options)]


async def _look_around(choice: Choice, spec: ComputeSpec, found: _Found) -> None:
    """See what those have at most who have nothing that meets the request."""
    from skyward._market import at_most
    from skyward._visiting import opened

    async def ask(provider: Provider) -> tuple[str]:
        async with opened(provider, patient=False) as seller:
            return (await at_most(provider, seller.session, spec),)

    asked = [provider for provider in choice.providers if provider.name in found.asked]
    for provider, answer in await each(asked, ask):
        has = "" if isinstance(answer, str) else answer[0]
        found.elsewhere.append(f"{provider.name}: nothing that meets the request{has}")


def _within(offer: Offer, options: argparse.Namespace) -> bool:
    if options.max_hourly_cost is None:
        return True
    together = _together(offer, options.nodes)
    return together is not None and together <= options.max_hourly_cost + 1e-9


def _order(nodes: int) -> Callable[[Offer], tuple[bool, bool, float, str, str]]:
    """What is known to have too little comes last, and before that what has no price."""

    def key(offer: Offer) -> tuple[bool, bool, float, str, str]:
        short = offer.capacity is not None and offer.capacity < nodes
        return short, offer.price is None, offer.price or 0.0, offer.provider, offer.instance_type

    return key


def _together(offer: Offer, nodes: int) -> float | None:
    return None if offer.price is None else round(offer.price * nodes, 9)


def _report(found: _Found, options: argparse.Namespace, *, interrupted: bool) -> None:
    output = Output()
    if options.json:
        output.say(json.dumps({**_told(found, options), "interrupted": interrupted}, indent=2))
        return
    shown = found.offers[: options.limit or None]
    if shown:
        from skyward._cli._tables import table

        for line in table(_HEAD, [_row(offer, options.nodes) for offer in shown], _RIGHT):
            output.say(line)
    for note in found.notes:
        output.say(f"not asked: {note}")
    for line in found.elsewhere:
        output.say(line)
    if interrupted:
        output.warn(f"{_NAME}: interrupted")
        return
    output.say(_summary(found, len(shown), options))


def _summary(found: _Found, shown: int, options: argparse.Namespace) -> str:
    if not found.offers:
        return _nothing(found, options)
    rest = len(found.offers) - shown
    more = f", {rest} of them not shown: --limit 0 shows all" if rest else ""
    dear = f"; {len(found.dear)} more cost more than --max-hourly-cost allows, or have no price" if found.dear else ""
    return f"{len(found.offers)} offer(s) for {options.nodes} node(s){more}{dear}"


def _nothing(found: _Found, options: argparse.Namespace) -> str:
    """Why nothing is on offer, and what to ask for instead."""
    if not found.asked:
        return "nobody could be asked: see `skyward doctor`"
    if found.dear:
        together = _together(found.dear[0], options.nodes)
        least = "none has a price" if together is None else f"the cheapest costs {_money(together)} an hour"
        return f"nothing is on offer for that money, of {len(found.dear)} offer(s) {least}: raise --max-hourly-cost"
    if found.other_market:
        return f"nothing is on offer as {options.market}: leave out --market for {found.other_market} other offer(s)"
    return "nothing is on offer: ask for less, or for another accelerator or machine"


def _row(offer: Offer, nodes: int) -> tuple[str, ...]:
    device = offer.accelerator
    return (
        offer.provider,
        offer.instance_type,
        offer.region,
        offer.market,
        f"{offer.vcpu:g}" if offer.vcpu else "?",
        f"{offer.memory_gb:.4g} GB" if offer.memory_gb else "?",
        "" if device is None else f"{device.count} x {device.name}" if device.count > 1 else device.name,
        _money(offer.price),
        _money(_together(offer, nodes)),
        "" if offer.capacity is None else str(offer.capacity),
    )


def _money(price: float | None) -> str:
    from skyward._spending import amount

    return "?" if price is None else amount(round(price, 4))  # --json has all digits


def _told(found: _Found, options: argparse.Namespace) -> dict[str, Any]:
    """What is written as JSON; its shape is documented in docs/buying.md."""
    return {
        "version": _VERSION,
        "nodes": options.nodes,
        "asked": sorted(set(found.asked)),
        "offers": [
            {
                "provider": offer.provider,
                "machine": offer.instance_type,
                "region": offer.region,
                "market": offer.market,
                "price": offer.price,
                "price_together": _together(offer, options.nodes),
                "on_demand_price": offer.on_demand_price,
                "billing_quantum": offer.billing_quantum,
                "billing_minimum": offer.billing_minimum,
                "vcpu": offer.vcpu or None,
                "memory_gb": offer.memory_gb or None,
                "accelerator": None if offer.accelerator is None else offer.accelerator.name,
                "accelerator_count": 0 if offer.accelerator is None else offer.accelerator.count,
                "capacity": offer.capacity,
            }
            for offer in (found.offers[: options.limit or None])
        ],
        "left_out": len(found.dear),
        "notes": found.notes,
    }


def _number(name: str, text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise UsageProblem(f"{_NAME}: --{name} is {text!r}; give a whole number from {least}")
    return int(text)


def _dollars(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageProblem(f"{_NAME}: --max-hourly-cost is {text!r}; give a positive number of US dollars")
    return value
