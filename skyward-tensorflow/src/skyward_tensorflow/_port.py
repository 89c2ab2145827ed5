"""On a node: the port at which TensorFlow listens, kept for it from the beginning of the call until it does."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from skyward.spi import Group

__all__ = ["REUSE", "demand_the_first", "exposed", "kept", "warn_of_exposure"]

_log = logging.getLogger("skyward.tensorflow")

REUSE = {"TF_GRPC_REUSE_PORT": "true"}
"""Has TensorFlow's server share its port with a socket that asks to share it, too. Such sockets need the same user."""


@contextmanager
def kept(group: Group) -> Iterator[None]:
    """Keep this worker's port from others inside the block, and let TensorFlow's server have it.

    That opens where the first strategy is made, which may be minutes later, and the port is of those that the system
    gives to whoever asks for any.
    """
    listener = group.listener()
    held = _beside(listener)
    listener.close()  # nobody is to connect to it in the server's place
    try:
        yield
    finally:
        if held is not None:
            held.close()


def _beside(listener: socket.socket) -> socket.socket | None:
    """A socket at the port of another one, at all addresses as TensorFlow's server; ``None`` where there can be none.

    It does not listen. The two are there at one time, so that the port is never free.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        return None
    for family, everywhere in ((socket.AF_INET6, "::"), (socket.AF_INET, "")):
        with suppress(OSError), ExitStack() as failed:  # of a machine without IPv6, or a system with other rules
            held = failed.enter_context(socket.socket(family))
            if family == socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            for each in (listener, held):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # There may be connections to the listener already, which share the port in this way alone.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((everywhere, listener.getsockname()[1]))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            failed.pop_all()
            return held
    return None


def demand_the_first(group: Group) -> None:
    """See to it that the first worker's machine answers: TensorFlow would wait for it without a word.

    Raises:
        ConnectionError: it does not; the text says between which nodes.
    """
    if group.rank == 0:
        return
    try:
        group.reached().close()
    except ConnectionError as error:
        # Both are answers: nobody listens there yet, or the listener was closed in that moment, as `kept` does.
        if not isinstance(error.__cause__, (ConnectionRefusedError, ConnectionResetError)):
            raise


def warn_of_exposure(group: Group) -> None:
    """Say so, once for each node, where TensorFlow's server can be reached from outside of the group's network."""
    if group.local_rank != 0:
        return
    with suppress(ImportError, OSError):  # nodes have it, but a client that is one of its own nodes need not
        import psutil

        found = exposed(each.address for addresses in psutil.net_if_addrs().values() for each in addresses)
        if found:
            _log.warning(
                "TensorFlow listens at all addresses of node %s, %s among them, and asks nobody for a password: have a "
                "firewall let through no more than port 22 from elsewhere",
                group.members[group.rank].node,
                ", ".join(found),
            )


def exposed(addresses: Iterable[str]) -> list[str]:
    """Those addresses of a machine that all the world may reach."""
    found = []
    for address in addresses:
        with suppress(ValueError):  # an address of hardware
            if ipaddress.ip_address(address.partition("%")[0]).is_global:
                found.append(address)
    return found
