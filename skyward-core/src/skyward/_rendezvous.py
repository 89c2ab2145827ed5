"""What a pool's nodes are told of each other, and where they meet."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from attrs import evolve

from skyward._teardown import describe
from skyward.errors import SkywardError
from skyward.model.instance import InstanceState

if TYPE_CHECKING:
    from skyward._fleet import Machine
    from skyward._node import Node

__all__ = ["Rendezvous"]

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

    def _head(self) -> tuple[str, int]:
        first = self._machines[0].instance
        # Private addresses reach no further than one region of one provider.
        near = len({(machine.seller, machine.offer.region) for machine in self._machines.values()}) == 1
        address = (first.private_ip if near else None) or first.ip or first.private_ip or "127.0.0.1"
        if address not in self._ports:
            self._ports[address] = _port(address)
        return address, self._ports[address]


def _port(head: str) -> int:
    """A port where the nodes can meet: a free one when they are on this machine."""
    if head.startswith("127."):
        with socket.socket() as probe:
            probe.bind((head, 0))
            return int(probe.getsockname()[1])
    return _TORCH_PORT
