"""The road to a machine of a `RestSession`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skyward.model.instance import Instance, InstanceState
from skyward.model.ssh import SshAddress
from skyward.spi.transport import Wire

if TYPE_CHECKING:
    from skyward._rest.session import RestSession
    from skyward._ssh import SshTransport

__all__ = ["road"]


def road(session: RestSession[Any], instance: Instance, wire: Wire) -> SshTransport:
    """SSH to the machine's address, and to the port of ``details["port"]`` if it has one."""
    from skyward._ssh import SshTransport

    port = instance.details.get("port")
    address = SshAddress(
        host=instance.ip or "",
        port=port if isinstance(port, int) else None,
        username=session.user,
        host_key=session.keys.hosts.get(instance.id),
        key=session.keys.client,
    )

    async def ended() -> bool:
        found = (await session.describe([instance.id])).get(instance.id)
        return found is None or found.state is InstanceState.GONE

    more = {"folder": session.folder, "ended": ended, **session._road(instance)}
    return SshTransport(f"node {instance.node} ({instance.id})", address, session.identity, wire, **more)
