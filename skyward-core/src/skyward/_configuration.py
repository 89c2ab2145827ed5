"""What a node is told of its pool before its slots start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skyward._asking import bug
from skyward.errors import SkywardError
from skyward.spi.provider import Forewarned

if TYPE_CHECKING:
    from skyward._fleet import Machine
    from skyward._options import PoolOptions

__all__ = ["configured"]


def configured(options: PoolOptions, pool_id: str, cluster: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """The configuration of a node, as it goes to its supervisor.

    Args:
        options: the pool's.
        pool_id: which all nodes have as their job's name.
        cluster: the node's place among the others.
        machine: the node's.

    Raises:
        PluginError: the provider's session breaks its contract.
    """
    spec, device = options.spec, machine.offer.accelerator
    devices = [device.name] * device.count if device is not None and spec.accelerator is not None else []
    return {
        "cluster": {
            **cluster,
            "job_id": pool_id,
            "workers_per_node": spec.concurrency,
            "accelerators": devices,
        },
        "environment": {**spec.image.env, **options.environment},
        "metrics": options.collect_metrics,
        "preload": list(options.preload),
        "lookout": _lookout(machine),
    }


def _lookout(machine: Machine) -> str | None:
    """The program that looks out on a spot machine for the word that it will be taken back, if its provider has one."""
    session = machine.seller.session
    if machine.offer.market != "spot" or not isinstance(session, Forewarned):
        return None
    try:
        program: object = session.lookout(machine.instance)
    except SkywardError:
        raise
    except Exception as error:
        raise bug(machine.seller.provider, "lookout", error) from error
    if program is None or isinstance(program, str):
        return program
    raise bug(machine.seller.provider, "lookout", f"an answer that is no program: {program!r}")
