"""A network that is dead without a word is noticed within 15 seconds, on a clock that the tests set."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from skipping_loop import SkippingLoop, does_skipping
from ssh_machine import Ear, Machine

from skyward._guest_loop import GuestLoop
from skyward._ssh import SshTransport
from skyward.model.image import Image
from skyward.spi.transport import Link
from skyward.worker.protocol import Kind, encode

LIMIT = 15.0


class Line:
    """A link to a supervisor, through a relay."""

    def __init__(self, loop: SkippingLoop, guest: GuestLoop, link: Link, ear: Ear) -> None:
        self.loop = loop
        self.guest = guest
        self.link = link
        self.ear = ear

    async def skip(self, seconds: float) -> None:
        """Let time go by in the loop that serves the connection, with all that is due in each tenth of a second."""
        for _ in range(round(seconds * 10)):
            self.loop.now += 0.1
            for _ in range(3):
                turned = self.loop.create_future()
                self.guest.call_soon_threadsafe(self.loop.call_soon_threadsafe, turned.set_result, None)
                await turned

    async def talk(self) -> None:
        """Ask so much that it is heard to be busy, and wait for all the answers."""
        heard = len(self.ear.frames)
        for _ in range(300):
            self.link.send(encode(Kind.PING))
        while len(self.ear.frames) < heard + 300:
            await self.ear.hears_more()

    async def is_lost(self) -> None:
        """Let the seconds go by in which it must be noticed, and wait until the word of it has come."""
        await self.skip(LIMIT)
        noticed = await asyncio.to_thread(self.ear.deaf.wait, 60)  # it takes no longer: the clock stands still
        assert noticed, f"the connection stands {LIMIT:g} s after the network has died"


@pytest.mark.parametrize("way", ["both", "up", "down"])
def test_it_is_noticed_idle_and_busy_and_with_much_on_its_way(
    sshd: Any, machine: Machine, make_relay: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = make_relay(sshd.port)
    ways = {"both": (), "up": (relay.up,), "down": (relay.down,)}[way]

    async def opened(loop: SkippingLoop, transport: SshTransport) -> Line:
        ear = Ear()
        link = await transport.open("control", ear)
        assert machine.reactor._guest is not None
        line = Line(loop, machine.reactor._guest, link, ear)
        await ear.hears(Kind.WELCOME)
        return line

    async def work(loop: SkippingLoop) -> None:
        monkeypatch.setattr(GuestLoop, "time", lambda _: loop.now)
        transport = machine.transport(sshd.address(port=relay.port))
        await transport.bootstrap(Image(), machine.report)

        line = await opened(loop, transport)  # idle
        relay.freeze(*ways)
        await line.is_lost()
        relay.cut()
        relay.thaw()

        for phase in (0.0, 0.7, 1.4):  # busy as it dies, at any moment between two looks at it
            line = await opened(loop, transport)
            await line.talk()
            await line.skip(1.6)
            await line.talk()
            await line.skip(phase)
            relay.freeze(*ways)
            await line.is_lost()
            relay.cut()
            relay.thaw()

        line = await opened(loop, transport)  # what is on its way then stays there
        await line.talk()
        relay.freeze(*ways)
        for _ in range(20_000):
            line.link.send(encode(Kind.PING))
        await line.is_lost()
        relay.cut()
        relay.thaw()
        await transport.close()

    does_skipping(work)
    assert relay.connections == 5
