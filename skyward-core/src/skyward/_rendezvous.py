"""What a pool's nodes are told of each other, and where they meet."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from skyward._teardown import describe
from skyward.errors import SkywardError
from skyward.model.instance import Instance, InstanceState

if TYPE_CHECKING:
    from skyward._fleet import Machine
    from skyward._node import Node

__all__ = ["Rendezvous", "why_apart"]

_log = logging.getLogger("skyward.road")

_TORCH_PORT = 29500
"""The port at which torch's processes meet by custom."""


class Rendezvous:
    """The place of each machine in a pool. Node 0 is the head, where the others meet.

    Args:
        nodes: gives those that take tasks, which are told when the head is somewhere else.
    """

    def __init__(self, nodes: Callable[[], Iterable[Node]]) -> None:
        self._nodes = nodes
        self._machines: dict[int, Machine] = {}
        self._head_runs = asyncio.Event()
        self._ports: dict[str, int] = {}

    def expect(self, machine: Machine) -> None:
        """A machine was bought, perhaps in the place of another one."""
        self._machines[machine.instance.node] = machine
        if machine.instance.node == 0:
            self._head_runs.clear()

    def meet(self, machine: Machine) -> None:
        """A machine runs, and has its addresses."""
        self._machines[machine.instance.node] = machine
        if machine.instance.node == 0:
            self._head_runs.set()
        if self._head_runs.is_set():
            head = self._head()
            for node in self._nodes():
                node.meet_at(head)

    async def look_again(self, node: Node) -> None:
        """The connection to a node was lost and made again: if it is the head, it may have another address by now."""
        machine = self._machines.get(node.index)
        if node.index != 0 or machine is None:
            return
        name = machine.instance.id
        try:
            found = (await describe(machine.seller, [name])).get(name)
        except SkywardError as error:
            _log.debug("whether %s has another address is not known: %s", name, error)
            return
        if found is None or found.state is not InstanceState.RUNNING or self._machines.get(0) is not machine:
            return
        self.meet(evolve(machine, instance=evolve(machine.instance, ip=found.ip, private_ip=found.private_ip)))

    def at(self, node: int) -> Machine:
        """The machine that is or becomes a node."""
        return self._machines[node]

    async def cluster(self, node: int) -> dict[str, Any]:
        """What a node is told of its cluster, once the head has an address."""
        await self._head_runs.wait()
        address, port = self._head()
        return {"node": node, "total_nodes": len(self._machines), "head_addr": address, "head_port": port}

    def addresses(self) -> dict[int, str]:
        """Where the nodes reach each other."""
        machines = list(self._machines.items())
        # Private addresses reach no further than one region of one provider.
        near = len({(machine.seller, machine.offer.region) for _, machine in machines}) == 1
        return {node: _address(machine.instance, near=near) for node, machine in machines}

    def apart(self) -> str:
        """Why the nodes do not reach each other by private addresses, and what to do; empty where they do."""
        return why_apart(dict(self._machines))

    def _head(self) -> tuple[str, int]:
        address = self.addresses()[0]
        if address not in self._ports:
            self._ports[address] = _port(address)
        return address, self._ports[address]


def why_apart(machines: Mapping[int, Machine]) -> str:
    """Why machines, by their nodes, do not reach each other by private addresses, and what to do; empty where they do.

    Other addresses will not do: they may be a router's, which passes nothing on, and else all the world reaches them.
    """
    if len(machines) < 2:
        return ""
    for node, machine in sorted(machines.items()):
        provider, instance = machine.seller.provider, machine.instance
        if not provider.capabilities.private_network:
            return (
                f"those of {provider.name} have no private network as it is set up; use nodes=1, where concurrency=... "
                "runs several, or a provider whose nodes have one"
            )
        if instance.state is InstanceState.RUNNING and not instance.private_ip:
            return (
                f"{provider.name} gave node {node} ({instance.id}) no private address, although it declares a private "
                "network; report that to the authors of its plugin"
            )
    (first, head), *others = sorted(machines.items())
    for node, machine in others:
        if (machine.seller, machine.offer.region) != (head.seller, head.offer.region):
            return (
                f"node {first} is in {_place(head)} and node {node} in {_place(machine)}, and private addresses reach "
                "no further than one region of one provider; open a pool of one provider that buys in one region"
            )
    return ""


def _place(machine: Machine) -> str:
    return f"{machine.offer.region} of {machine.seller.provider.name}"


def _address(instance: Instance, *, near: bool) -> str:
    return (instance.private_ip if near else None) or instance.ip or instance.private_ip or "127.0.0.1"


def _port(head: str) -> int:
    """A port where the nodes can meet: a free one when they are on this machine."""
    if head.startswith("127."):
        with socket.socket() as probe:
            probe.bind((head, 0))
            return int(probe.getsockname()[1])
    return _TORCH_PORT
