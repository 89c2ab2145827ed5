"""The provider's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from skyward import ConfigurationError
from skyward.spi import Capabilities, PoolIdentity

if TYPE_CHECKING:
    from attrs import Attribute

    from skyward_container._session import ContainerSession

__all__ = ["Container"]


def _is_word(settings: Container, attribute: Attribute[str | None], value: object) -> None:
    del settings
    if value is None:
        return
    if not isinstance(value, str) or not value or value.startswith("-") or value != value.strip():
        what = "the name of an image" if attribute.name == "image" else "the name or path of a program"
        raise ConfigurationError(f"{attribute.name} must be {what}, not {value!r}: leave it out for the default")


@frozen(kw_only=True)
class Container:
    """Nodes are containers on this machine, each with an SSH server as a machine of a cloud has one.

    Docker, podman and nerdctl do, by their command lines, so contexts, ``DOCKER_HOST`` and logins hold. The nodes of a
    pool share a network of their own. ``cpu`` and ``memory_gb`` of the pool are limits of each container. Volumes are
    mounted with the credentials of this environment, by the variables of AWS's own tools; that needs ``/dev/fuse``, and
    the containers get the capability SYS_ADMIN.

    Attributes:
        image: the image that the nodes are made from: any with glibc and apt, such as Debian's, Ubuntu's, and what is
            made from them. ``None`` for Python's official image of the version that the pool asks for. The SSH server
            and uv are added to it once, and the result is kept.
        binary: the engine's program, as a name or a path; ``None`` for the first of ``docker``, ``podman`` and
            ``nerdctl`` whose engine answers.
    """

    name: ClassVar[str] = "Container"
    capabilities: ClassVar[Capabilities] = Capabilities(
        spot=False,
        volumes=True,
        private_network=True,
        default_lease=60.0,
        ports=True,
        launch_limit=2700.0,  # the first time, an image is got, for which there are 1200 s, and another one made of it
    )

    image: str | None = field(default=None, validator=_is_word)
    binary: str | None = field(default=None, validator=_is_word)

    async def open(self, identity: PoolIdentity, /) -> ContainerSession:
        """Find the engine. Nothing is created before the first launch.

        Raises:
            Unavailable: no engine of this machine answers; what to do is in the message.
        """
        import asyncio

        from skyward import spi
        from skyward_container._engine import find_engine
        from skyward_container._session import ContainerSession

        # What is slow to import comes in while the engine thinks.
        engine, _ = await spi.together((find_engine(self.binary), asyncio.to_thread(getattr, spi, "SshTransport")))
        return ContainerSession(self, identity, engine)
