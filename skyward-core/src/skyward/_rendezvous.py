"""What a pool's nodes are told of each other, and where they meet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyward._fleet import Machine
    from skyward._node import Node

__all__ = ["Rendezvous"]

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
