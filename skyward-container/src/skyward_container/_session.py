"""The containers of one pool: started, looked at, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from skyward import Transient, Unavailable
from skyward.spi import Instance, InstanceState, LaunchRequest, Offer, PoolIdentity, together
from skyward_container import _deadline, _node
from skyward_container._first_words import host_keys
from skyward_container._image import NodeImage, default_base, node_image, switch
from skyward_container._networks import Networks
from skyward_container._volumes import mounts_of

if TYPE_CHECKING:
    from skyward import S3Volume
    from skyward.spi import ComputeSpec, KeyPair, Mount, Transport, Wire
    from skyward_container._engine import Engine
    from skyward_container._settings import Container

__all__ = ["ContainerSession"]

_log = logging.getLogger("skyward.container")


class ContainerSession:
    """Serves one pool.

    Args:
        settings: what the user asked for.
        identity: the pool's.
        engine: has answered.
    """

    def __init__(self, settings: Container, identity: PoolIdentity, engine: Engine) -> None:
        self._settings = settings
        self._identity = identity
        self._engine = engine
        self._networks = Networks(engine, identity)
        self._key: KeyPair | None = None
        self._host_keys: dict[str, str] = {}  # by the container's name, the public key of its server
        self._offers: dict[str, Offer] = {}
        self._moved: dict[str, float] = {}  # by name, the deadlines that are not those of the labels any more
        self._variables: dict[str, str] = {}
        self._volumes: tuple[S3Volume, ...] = ()

    async def offers(self, spec: ComputeSpec, /) -> Sequence[Offer]:
        """The engine's machine, when it has what is asked for."""
        self._volumes = spec.volumes
        mounts_of(spec.volumes)
        here = Offer(
            provider=self._settings.name,
            instance_type="container",
            region="localhost",
            price=0.0,
            on_demand_price=0.0,
            vcpu=self._engine.cpus,
            memory_gb=self._engine.memory / 1e9,
        )
        fits = (
            spec.accelerator is None
            and spec.machine in (None, here.instance_type)
            and (spec.cpu or 0) <= here.vcpu
            and (spec.memory_gb or 0) <= here.memory_gb
        )
        return [here] if fits else []

    async def launch(self, request: LaunchRequest, /) -> Sequence[Instance]:
        """Start the containers, all at once, each with its SSH server up."""
        base = self._settings.image or default_base(request.spec.image)
        async with self._networks.needed():
            image, _ = await together((node_image(self._engine, base, request.spec.image), self._networks.make()))
            outcomes = await asyncio.gather(
                *(self._start(node, request, image) for node in request.nodes), return_exceptions=True
            )
        self._variables = image.variables
        started = [outcome for outcome in outcomes if isinstance(outcome, Instance)]
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        keys = await host_keys(self._engine, [each.id for each in started])
        self._host_keys |= {name: key for name, key in keys.items() if isinstance(key, str)}
        if silent := [name for name in keys if name not in self._host_keys]:
            await self._remove(*silent)
            failures += [error for error in keys.values() if not isinstance(error, str)]
        for failure in failures:
            _log.warning("a container could not be started: %s", failure)
        if not self._host_keys.keys() & keys.keys():
            raise failures[0] if failures else Unavailable("no container was asked for")
        return [each for each in started if each.id not in silent]

    async def _start(self, node: int, request: LaunchRequest, image: NodeImage) -> Instance:
        """Start one container; once more if the engine fails, which it may for want of a moment's patience."""
        try:
            return await self._start_once(node, request, image)
        except Unavailable as error:
            _log.info("a container for node %d is started again: %s", node, error)
            return await self._start_once(node, request, image)

    async def _start_once(self, node: int, request: LaunchRequest, image: NodeImage) -> Instance:
        """Start one container. What fails is removed."""
        from skyward.spi import new_key_pair

        name = _node.name_of(self._identity.pool_id, node)
        if self._key is None:
            self._key = new_key_pair(f"skyward {self._identity.pool_id}")
        spec = request.spec
        memory = None if spec.memory_gb is None else int(spec.memory_gb * 1e9)
        limits = _node.Limits(spec.cpu, memory, (memory or self._engine.memory) // 2)
        command = _node.command(
            name,
            node,
            self._identity,
            image=image.tag,
            switch=switch(),
            limits=limits,
            key=self._key.public,
            mounting=bool(spec.volumes),
        )
        try:
            answer = await self._engine.ask(*command, whole=True)
            if answer.status:
                raise Unavailable(f"`{self._engine.name} run` failed: {answer.words}")
        except (Transient, Unavailable):
            await self._remove(name)
            raise
        self._offers[name] = request.offer
        return Instance(
            id=name,
            state=InstanceState.PENDING,
            pool_id=self._identity.pool_id,
            node=node,
            offer=request.offer,
            deadline=self._identity.deadline,
            owner=self._identity.owner,
            client=self._identity.client,
        )

    async def describe(self, ids: Sequence[str], /) -> Mapping[str, Instance]:
        """What the engine says of the containers with these names."""
        ids = _node.names_among(ids)
        if not ids:
            return {}
        found = await self._look(ids)
        strangers = [
            name for name, each in found.items() if name not in self._offers and each.state is InstanceState.RUNNING
        ]
        deadlines = {**self._moved, **await _deadline.moved(self._engine, strangers)}
        return {name: evolve(each, deadline=deadlines.get(name, each.deadline)) for name, each in found.items()}

    async def _look(self, ids: Sequence[str]) -> dict[str, Instance]:
        """What the engine says, with the deadlines of the labels."""
        found = await self._engine.inspect("container", ids)
        return {each.id: each for each in (_node.instance(facts, self._offers) for facts in found)}

    async def terminate(self, ids: Sequence[str], /) -> None:
        """End containers and remove them; the network goes with the last one."""
        ids = _node.names_among(ids)
        if not ids:
            return
        words = await self._remove(*ids)
        if left := await self._living(ids):
            # It fails for what is unknown or just removing itself, and podman then leaves the others as well.
            words = "; ".join(await together(self._remove(name) for name in left))
            if left := await self._living(left):
                raise Transient(f"{self._engine.name} could not remove {', '.join(left)}: {words}")
        for name in ids:
            self._host_keys.pop(name, None)
            self._moved.pop(name, None)
        await self._networks.remove_of(ids)

    async def _remove(self, *names: str) -> str:
        """Remove containers, whatever they are doing; what the engine said."""
        return (await self._engine.ask("rm", "--force", "--volumes", *names, whole=True)).words

    async def _living(self, ids: Sequence[str]) -> list[str]:
        return [each.id for each in (await self._look(ids)).values() if each.state is not InstanceState.GONE]

    async def extend(self, ids: Sequence[str], deadline: float, /) -> None:
        """Move the deadline of containers, and of those to come; see `_deadline`."""
        self._identity = evolve(self._identity, deadline=deadline)
        named = _node.names_among(ids)
        living = await self._living(named) if named else []
        answers = await together(_deadline.move(self._engine, name, deadline) for name in living)
        failed = {name: words for name, words in zip(living, answers, strict=True) if words}
        self._moved |= {name: deadline for name in living if name not in failed and name in self._offers}
        if failed and (left := await self._living(list(failed))):
            raise Transient(f"the deadline of {left[0]} cannot be moved: {failed[left[0]]}")

    async def list_owned(self, pool_id: str | None = None, /) -> Sequence[Instance]:
        """The containers that bear a pool's label."""
        label = _node.POOL if pool_id is None else f"{_node.POOL}={pool_id}"
        told = await self._engine.get("ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}")
        return list((await self.describe(told.split())).values())

    def transport(self, instance: Instance, wire: Wire, /) -> Transport:
        """SSH to the container's port on this machine."""
        from skyward.spi import SshAddress, SshTransport

        published = instance.details.get("port")
        address = SshAddress(
            host=instance.ip or "127.0.0.1",
            port=published if isinstance(published, int) else None,
            username="root",
            host_key=self._host_keys.get(instance.id),
            key=self._key,
            config=(),
        )

        async def ended() -> bool:
            return not await self._living([instance.id])

        return SshTransport(
            f"node {instance.node} ({instance.id})",
            address,
            self._identity,
            wire,
            folder=_node.FOLDER,
            variables={**self._variables, "SKYWARD_PAYLOAD": _node.PAYLOAD},
            ended=ended,
            mounts=self._mounts if self._volumes else None,
        )

    async def _mounts(self) -> list[Mount]:
        return mounts_of(self._volumes)

    async def close(self) -> None:
        """Remove the network, if nothing is left in it."""
        await self._networks.remove()
