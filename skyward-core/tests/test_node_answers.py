"""Asking a node's supervisor for a sign of life."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import skyward as sky
from skyward._node import Node


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with sky.ComputePool(display="quiet", lease=600) as pool:
        yield pool._engine.dispatcher.nodes[0]


def test_a_node_that_runs_answers_each_time(node: Node) -> None:
    assert node.answers(60)
    node.renew()
    assert node.answers(60)


def test_one_that_stands_still_does_not_until_it_goes_on(node: Node) -> None:
    supervisor = node.instance.details["pid"]
    assert isinstance(supervisor, int)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        assert not node.answers(0.01)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert node.answers(60)


def test_one_that_is_killed_does_not_although_its_end_takes_a_moment(node: Node) -> None:
    supervisor = node.instance.details["pid"]
    assert isinstance(supervisor, int)
    os.kill(supervisor, signal.SIGKILL)
    assert not node.answers(60)
    assert not node.answers(60)  # nor is it waited for once it is known not to be connected
