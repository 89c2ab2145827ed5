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
    dear: int = 0


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
        async with opened(provider) as seller:
            return await answered(provider, "offers", lambda: fitting(seller.session, spec))

    everything: list[Offer] = []
    for provider, answer in await each(choice.providers, ask):
        if isinstance(answer, str):
            found.notes.append(f"{provider.name}: {answer}")
        else:
            found.asked.append(provider.name)
            everything += answer
    wanted = [offer for offer in everything if options.market in (None, offer.market)]
    within = [offer for offer in wanted if _within(offer, options)]
    found.dear = len(wanted) - len(within)
    found.offers = sorted(within, key=_order(options.nodes))


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
    if interrupted:
        output.warn(f"{_NAME}: interrupted")
        return
    output.say(_summary(found, len(shown), options))


def _summary(found: _Found, shown: int, options: argparse.Namespace) -> str:
    dear = f"; {found.dear} more cost more than --max-hourly-cost allows, or have no price" if found.dear else ""
    if not found.offers:
        return f"nothing is on offer{dear}" if found.asked else "nobody could be asked: see `skyward doctor`"
    rest = len(found.offers) - shown
    more = f", {rest} of them not shown: --limit 0 shows all" if rest else ""
    return f"{len(found.offers)} offer(s) for {options.nodes} node(s){more}{dear}"


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

    return "?" if price is None else amount(price)


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
        "left_out": found.dear,
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
