"""What integrations of frameworks need around a function on a node, and would otherwise each write for themselves."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

from skyward.worker.group import current_group

__all__ = [
    "any_cause",
    "bound_to_all",
    "environ_with",
    "follows_by_any",
    "interface_of",
    "listening_variables",
    "not_on_this_node",
    "run_inside",
    "uninterrupted",
]

_SIOCGIFADDR = 0x8915  # netdevice(7): asks Linux for the IPv4 address of an interface


@contextmanager
def environ_with(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables inside the block, and take all of them back at its end, however it ends.

    A variable is afterwards what it was before, whatever was done to it in the block: it has its old value, or none if
    there was none.

    Args:
        values: by name; ``None`` removes the variable.
    """
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        with uninterrupted():
            _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def interface_of(address: str) -> str | None:
    """The network interface of this machine that has an address, as ``"eth0"``; ``None`` if none has it.

    That is for frameworks that want the name of the interface at which they shall listen, such as gloo and NCCL. Behind
    a router that translates addresses no interface has the one by which the other nodes reach this machine.
    """
    try:
        import psutil
    except ImportError:  # nodes have it, but a client that is one of its own nodes need not
        return _interface_by_linux(address)
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == address for each in addresses):
            return str(name)
    return None


def _interface_by_linux(address: str) -> str | None:
    """The same by Linux alone, and for the first IPv4 address of each interface."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has no IPv4 address
                told = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(told[20:24]) == address:
                    return name
    return None


def listening_variables(address: str, *, gloo: bool = False, nccl: bool = False) -> dict[str, str]:
    """The environment variables by which libraries listen at one address alone, for ``environ_with``.

    One that is set already stands, as the pool's ``env`` may set it. Nothing is to be set where no interface has the
    address, as behind a router that translates addresses: the libraries choose then.

    Args:
        address: of this member, ``group.members[group.rank].address``.
        gloo: those of gloo, and of torch's TensorPipe.
        nccl: that of NCCL.
    """
    interface = interface_of(address) if gloo or nccl else None
    if interface is None:
        return {}
    found = dict.fromkeys(("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME"), interface) if gloo else {}
    if nccl:
        found["NCCL_SOCKET_IFNAME"] = f"={interface}"  # without the sign it would be the beginning of a name
    return {name: os.environ.get(name) or value for name, value in found.items()}


def not_on_this_node(module: str, integration: str, requirement: str = "") -> ModuleNotFoundError:
    """The error that says how a node gets a module that it lacks, to be raised.

    Args:
        module: its name, as it is imported.
        integration: the name of the one that supplies it: ``sky.integrations.NAME``.
        requirement: what ``Image(pip=[...])`` is told to name; by default the module's name.
    """
    return ModuleNotFoundError(
        f"{module} is not installed on this node: add plugins=[sky.integrations.{integration}()] or "
        f'Image(pip=["{requirement or module}"])',
        name=module,
    )


def any_cause(error: BaseException, test: Callable[[BaseException], bool]) -> bool:
    """Whether the test holds of an error, or of one that it was raised from (``__cause__``), however far back."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        if test(each):
            return True
        each = each.__cause__
    return False


def uninterrupted() -> AbstractContextManager[None]:
    """Let no stop strike inside the block: for what undoes a group, and must not be left half done.

    A stop that comes meanwhile raises ``KeyboardInterrupt`` at the end of the block. If an exception is on its way
    where this is called, as in the ``finally`` of a function that failed, none is raised until the task has ended: it
    would replace the failure. A task that does not end within 3 seconds of a stop is killed all the same. Outside of a
    slot, and on other threads than the one that runs tasks, nothing changes.
    """
    interrupts = _interrupts()
    if interrupts is None:
        return nullcontext()
    if sys.exception() is not None:
        interrupts.hold()
    shield: AbstractContextManager[None] = interrupts
    return shield


def _interrupts() -> Any:
    """Those of this process if it is a slot. A client does not import them, and some clients could not."""
    return getattr(sys.modules.get("skyward.worker.interrupts"), "armed", None)


_inside: dict[str | int, tuple[str, ...]] = {}
"""The integrations whose blocks a running function is in: by its call, or its thread where it is in no group."""


def run_inside(
    name: str,
    entered: Callable[[], AbstractContextManager[object]],
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Run a function in the block of an integration, unless it is in one of that integration already."""
    group = current_group()
    key = threading.get_ident() if group is None else group.call
    names = _inside.get(key, ())
    if name in names:
        return function(*args, **kwargs)
    with ExitStack() as block:
        try:
            block.enter_context(entered())
            _inside[key] = (*names, name)
            return function(*args, **kwargs)
        except BaseException:
            # At once, before anything is undone. A stop that strikes in this line has struck: no other one follows.
            if group is not None and (interrupts := _interrupts()) is not None:
                interrupts.hold()
            raise
        finally:
            if names:
                _inside[key] = names
            else:
                _inside.pop(key, None)


def follows_by_any(judges: Sequence[Callable[[BaseException], bool]], error: BaseException) -> bool:
    """``is_consequence`` of a function with several integrations."""
    return any(judge(error) for judge in judges)


def bound_to_all(probes: Sequence[Callable[[int], str | None]], size: int) -> str | None:
    """``bound_to`` of a function with several integrations: ``None`` if any of them says so."""
    told = [probe(size) for probe in probes]
    return None if None in told else " ".join(filter(None, told))
