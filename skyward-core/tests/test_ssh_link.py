"""Frames over a channel: none lost, none out of order, whichever way they take through asyncssh or past it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from reactor_ear import Ear
from ssh_far import MIB, Far, echo, frames_of, through

from skyward._ssh import lane as lanes
from skyward._ssh.lane import Lane
from skyward._ssh.link import ChannelLink
from skyward.errors import ProtocolError
from skyward.worker.protocol import Frame, Kind, encode


def some_frames() -> list[bytes]:
    """Bodies that fall on either side of all the limits, small ones among the large."""
    sizes = [0, 1, 200, 4096, 3 * MIB + 1, 5, 7, 9, 1 << 15, (1 << 15) + 1, 256 << 10, (256 << 10) + 1, 12 * MIB, 1]
    return [secrets.token_bytes(size) for size in sizes]


def test_frames_go_both_ways_whole_and_in_order(sshd: Any, far: Any, short: bool) -> None:
    bodies = some_frames()
    there = far(echo(len(bodies)))

    async def use(link: ChannelLink, ear: Ear) -> None:
        for number, body in enumerate(bodies):
            link.send(encode(Kind.TASK, number, None, [body]))
        await asyncio.to_thread(ear.wait, frames=len(bodies))
        assert [frame.number for frame in ear.frames] == list(range(len(bodies)))
        assert [bytes(frame.buffers[0]) for frame in ear.frames] == bodies

    lane = through(sshd, there.path, use, short=short)
    assert (lane is not None) == short


def test_frames_go_on_whole_while_new_keys_are_agreed_upon(make_sshd: Any, short: bool, tmp_path: Path) -> None:
    server = make_sshd("RekeyLimit 1M")
    bodies = some_frames()
    there = Far(server.folder, echo(len(bodies)))
    keys: list[object] = []

    async def use(link: ChannelLink, ear: Ear) -> None:
        if link._lane is not None:
            keys.append(link._lane._ssh._recv_encryption)
        for number, body in enumerate(bodies):
            link.send(encode(Kind.TASK, number, None, [body]))
        await asyncio.to_thread(ear.wait, frames=len(bodies))
        assert [bytes(frame.buffers[0]) for frame in ear.frames] == bodies
        if link._lane is not None:
            assert link._lane._open
            keys.append(link._lane._ssh._recv_encryption)

    try:
        through(server, there.path, use, short=short)
    finally:
        there.close()
    assert not short or keys[0] is not keys[1]


def test_what_was_sent_before_this_end_was_closed_still_arrives(sshd: Any, far: Any, short: bool) -> None:
    body = secrets.token_bytes(8 * MIB)
    arrived: list[Frame] = []

    def take(peer: socket.socket) -> None:
        arrived.extend(frames_of(peer, 1))
        assert peer.recv(1) == b""

    async def use(link: ChannelLink, ear: Ear) -> None:
        link.send(encode(Kind.TASK, 7, None, [body]))

    there = far(take)
    through(sshd, there.path, use, short=short)
    there.thread.join(30)
    assert [bytes(frame.buffers[0]) for frame in arrived] == [body]


def test_what_was_sent_before_the_far_end_was_closed_still_arrives_and_then_its_end(
    sshd: Any, far: Any, short: bool
) -> None:
    body = secrets.token_bytes(8 * MIB)

    async def use(link: ChannelLink, ear: Ear) -> None:
        await asyncio.to_thread(ear.wait, frames=1, errors=1)
        assert bytes(ear.frames[0].buffers[0]) == body
        assert ear.errors == [None]

    def give(peer: socket.socket) -> None:
        peer.sendall(b"".join(encode(Kind.RESULT, 1, None, [body])))

    through(sshd, far(give).path, use, short=short)


def test_a_far_end_that_does_not_read_holds_the_channel_up_and_nothing_is_copied(
    sshd: Any, far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, full, size = threading.Event(), threading.Event(), 64 * MIB
    pause = ChannelLink.pause_writing

    def told(link: ChannelLink) -> None:
        pause(link)
        full.set()

    monkeypatch.setattr(ChannelLink, "pause_writing", told)

    def late(peer: socket.socket) -> None:
        go_on.wait(60)
        assert frames_of(peer, 1)[0].number == 7
        assert peer.recv(1) == b""

    async def use(link: ChannelLink, ear: Ear) -> None:
        body = bytes(size)
        link.send(encode(Kind.TASK, 7, None, [body]))
        await asyncio.to_thread(full.wait, 60)  # until the window is used up
        own: Any = link._chan
        assert own.get_write_buffer_size() <= MIB
        assert all(memoryview(part).obj is body for parts in link._queue for part in parts)
        go_on.set()

    through(sshd, far(late).path, use)


def test_a_refusal_and_nonsense_end_the_link_with_the_reason(sshd: Any, far: Any) -> None:
    said = [b"".join(encode(Kind.REFUSED, head="the token is not this node's")), b"nonsense" * 10]
    for words, reason in zip(said, ["the token is not this node's", "does not speak"], strict=True):

        async def use(link: ChannelLink, ear: Ear, reason: str = reason) -> None:
            await asyncio.to_thread(ear.wait, errors=1)
            [error] = ear.errors
            assert isinstance(error, ProtocolError)
            assert reason in str(error)

        def serve(peer: socket.socket, words: bytes = words) -> None:
            peer.sendall(words)
            assert peer.recv(1) == b""

        through(sshd, far(serve).path, use)


def test_a_connection_that_is_cut_is_told_once(sshd: Any, far: Any, make_relay: Any, short: bool) -> None:
    relay, greeted = make_relay(sshd.port), threading.Event()

    def serve(peer: socket.socket) -> None:
        greeted.set()
        peer.recv(1)

    async def use(link: ChannelLink, ear: Ear) -> None:
        await asyncio.to_thread(greeted.wait, 60)  # what is cut before is a greeting that did not come
        relay.cut()
        await asyncio.to_thread(ear.wait, errors=1)
        link.send(encode(Kind.PING))
        link.close()
        assert len(ear.errors) == 1

    there = far(serve)
    through(sshd, there.path, use, short=short, port=relay.port)


def test_a_packet_that_was_tampered_with_ends_the_connection(
    sshd: Any, far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_short = Lane._short
    bent: list[int] = []

    def bend(lane: Lane, begin: int, after: int) -> Any:
        if after - begin > 1000 and not bent:
            bent.append(after - begin)
            lane._space[begin + 500] ^= 1
        return read_short(lane, begin, after)

    monkeypatch.setattr(Lane, "_short", bend)

    async def use(link: ChannelLink, ear: Ear) -> None:
        link.send(encode(Kind.TASK, 7, None, [bytes(10_000)]))
        await asyncio.to_thread(ear.wait, errors=1)
        assert "MAC" in str(ear.errors[0])
        assert not ear.frames

    def serve(peer: socket.socket) -> None:
        for frame in frames_of(peer, 1):
            peer.sendall(b"".join(encode(frame.kind, frame.number, None, frame.buffers)))

    through(sshd, far(serve).path, use)
    assert bent


def test_versions_of_asyncssh_that_the_short_way_was_not_tried_with_go_without_it(
    sshd: Any, far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncssh

    monkeypatch.setattr(asyncssh, "__version__", ".".join(map(str, lanes._TOO_NEW)) + ".0")

    async def use(link: ChannelLink, ear: Ear) -> None:
        link.send(encode(Kind.PING, 7))
        await asyncio.to_thread(ear.wait, frames=1)

    assert through(sshd, far(echo(1)).path, use) is None
