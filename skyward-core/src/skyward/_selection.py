"""From offers to an ordered plan of what to buy. Pure.

Two choices meet here. The selection orders the providers; the next one is tried when the one before it cannot deliver.
The allocation divides the machines among the offers, and leaves out those that it does not want. Core's own
strategies are asked in the same way as a plugin's or a user's, and what they answer is checked in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import evolve, frozen

from skyward._choice import Choice
from skyward.model.allocation import AllocationStrategy, Candidate, Tranche
from skyward.model.offer import Offer
from skyward.model.spec import ComputeSpec
from skyward.spi.selector import ProviderView, Selector

__all__ = ["Bid", "Order", "fits", "milder", "most", "plan", "rank", "wanted"]

_NAMED = 6
"""Accelerators, or types of machines, that a message names."""


@frozen
class Bid:
    """An offer, and which of the providers made it, by its index."""

    seller: int
    offer: Offer


@frozen
class Order:
    """Machines to buy: which nodes they become, and the offers to try in turn. Without offers it cannot be met."""

    nodes: tuple[int, ...]
    offers: tuple[Bid, ...]


def fits(offer: Offer, spec: ComputeSpec) -> bool:
    """Whether an offer meets a request. Figures that an offer leaves at 0 are taken as unknown and let pass."""
    if spec.machine is not None and offer.instance_type != spec.machine:
        return False
    if spec.cpu is not None and offer.vcpu and offer.vcpu < spec.cpu:
        return False
    if spec.memory_gb is not None and offer.memory_gb and offer.memory_gb < spec.memory_gb:
        return False
    if spec.accelerator is None:
        return True
    return offer.accelerator is not None and offer.accelerator.satisfies(spec.accelerator)


def milder(spec: ComputeSpec) -> list[ComputeSpec]:
    """What to ask a provider in turn that has nothing for a request, to learn what it has."""
    anything = evolve(spec, machine=None, accelerator=None, cpu=None, memory_gb=None)
    if spec.accelerator is None:
        return [anything]
    count = spec.accelerator.count
    fewer = [count >> halved for halved in range(1, count.bit_length())] or [1]
    return [*(evolve(anything, accelerator=evolve(spec.accelerator, count=each)) for each in fewer), anything]


def most(offers: Sequence[Offer], spec: ComputeSpec) -> str:
    """The largest figures of a provider's offers, in words that follow its answer.

    A provider may keep back what a request does not ask for, so they are no more than what they are called.

    Args:
        offers: what it has for a milder request.
        spec: what was asked for, and is not to be had. Types of machines are named to whoever asked for one.
    """
    if not offers:
        return ""
    has = [f"up to {count} CPUs"] if (count := max(offer.vcpu for offer in offers)) else []
    has += [f"up to {size:g} GB"] if (size := round(max(offer.memory_gb for offer in offers), 1)) else []
    kinds = dict.fromkeys(str(offer.accelerator) for offer in offers if offer.accelerator is not None)
    has += [_some(kinds) or f"no {'accelerator' if spec.accelerator is None else spec.accelerator.model}"]
    if spec.machine is not None:
        has += [f"types {_some(dict.fromkeys(offer.instance_type for offer in offers))}"]
    return f", with fewer wishes {', '.join(has)}"


def _some(names: Collection[str]) -> str:
    """A few of the names, and how many others there are."""
    few = " or ".join(sorted(names)[:_NAMED])
    return few if len(names) <= _NAMED else f"{few} or {len(names) - _NAMED} others"


def wanted(offers: Sequence[Offer], allocation: Choice[AllocationStrategy], nodes: int) -> tuple[Offer, ...]:
    """The offers of one provider that an allocation admits for so many machines, in the order of its tranches.

    Raises:
        PluginError: a plugin's strategy failed.
        ConfigurationError: the user's own broke the contract.
    """
    tranches = _tranches(allocation, tuple(Candidate(0, offer) for offer in offers), nodes)
    taken = {id(candidate): candidate.offer for tranche in tranches for candidate in tranche.candidates}
    return tuple(taken.values())


def rank(providers: Sequence[ProviderView], selection: Choice[Selector], spec: ComputeSpec) -> list[int]:
    """Order the providers, named by their indices.

    A selector that is known by a name is asked again for the rest; a user's own callable is asked once, and the
    others keep their order behind its choice.

    Raises:
        PluginError: a plugin's selector failed.
        ConfigurationError: the user's own chose none of the providers. What else it raises arrives as itself.
    """
    rest = list(range(len(providers)))
    if selection.name is None:
        first = rest.pop(_chosen(providers, selection, spec))
        return [first, *rest]
    order: list[int] = []
    while len(rest) > 1:
        order.append(rest.pop(_chosen([providers[index] for index in rest], selection, spec)))
    return order + rest


def _chosen(providers: Sequence[ProviderView], selection: Choice[Selector], spec: ComputeSpec) -> int:
    with selection.asked("select"):
        chosen = selection.value(tuple(providers), spec)
    for index, provider in enumerate(providers):
        if chosen is provider:
            return index
    raise selection.wrong("select", repr(chosen), "return one of the providers that it was given")


def plan(
    offers: Sequence[Sequence[Offer]],
    ranking: Sequence[int],
    allocation: Choice[AllocationStrategy],
    nodes: Sequence[int],
    total: int | None = None,
) -> list[Order]:
    """Divide the nodes among the offers.

    For a part of a pool, such as a node that was lost, the whole pool is divided, and the node is bought as what it is
    in that: one of the share that is on demand comes on demand again, and the shares stay as they were chosen. Where
    that leaves nothing for it, the part is divided by itself.

    Args:
        offers: of each provider, in its own order of preference.
        ranking: the providers by their index, the first choice first.
        allocation: the strategy.
        nodes: the index of each machine that is needed.
        total: how many machines the pool has, with indices from 0; by default those that are needed are all.

    Raises:
        PluginError: a plugin's strategy failed.
        ConfigurationError: the user's own broke the contract.
    """
    candidates = tuple(Candidate(place, offer) for place, index in enumerate(ranking) for offer in offers[index])
    needed = frozenset(nodes)

    def divided(every: Sequence[int]) -> list[Order]:
        orders: list[Order] = []
        begin = 0
        for tranche in _tranches(allocation, candidates, len(every)):
            bids = tuple(Bid(ranking[candidate.provider], candidate.offer) for candidate in tranche.candidates)
            mine = tuple(node for node in every[begin : begin + tranche.nodes] if node in needed)
            orders.append(Order(mine, bids))
            begin += tranche.nodes
        return [order for order in orders if order.nodes]

    whole = nodes if total is None else range(total)
    orders = divided(whole)
    return orders if len(whole) == len(nodes) or all(order.offers for order in orders) else divided(nodes)


def _tranches(
    allocation: Choice[AllocationStrategy], candidates: tuple[Candidate, ...], nodes: int
) -> Sequence[Tranche]:
    """What a strategy answers, checked; without tranches of no machines."""
    if not candidates:
        return [Tranche(nodes, ())]
    with allocation.asked("allocate"):
        answer = allocation.value.allocate(candidates, nodes)
    wrong = _wrong(answer, candidates, nodes)
    if wrong:
        raise allocation.wrong(
            "allocate", wrong, f"return tranches that make {nodes} machine(s) together, of the candidates given"
        )
    return [tranche for tranche in answer if tranche.nodes]


def _wrong(answer: object, candidates: tuple[Candidate, ...], nodes: int) -> str:
    """What is wrong with a strategy's answer; empty when nothing is."""
    if not isinstance(answer, Sequence) or not all(isinstance(each, Tranche) for each in answer):
        return f"what is no sequence of tranches: {answer!r}"
    given = {id(candidate) for candidate in candidates}
    total = 0
    for tranche in answer:
        count: object = tranche.nodes
        if not isinstance(count, int) or count < 0 or not isinstance(tranche.candidates, Sequence):
            return f"what is no tranche of machines: {tranche!r}"
        total += count
        for candidate in tranche.candidates:
            if id(candidate) not in given and candidate not in candidates:
                return f"a candidate that it was not given: {candidate!r}"
    return "" if total == nodes else f"tranches of {total} machine(s) where {nodes} are needed"
