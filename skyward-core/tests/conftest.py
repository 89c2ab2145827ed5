"""A process that does what a node does with functions, arguments and modules, for tests of serialisation; and the
fixtures of the terminal in memory, of installed plugins, of SSH and of the conformance kit.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_clouds import clouds as clouds
from command_line import command as command
from conformance_bent import case as case
from plugin_fakes import install as install
from ssh_far import far as far
from ssh_far import short as short
from ssh_identity import agent as agent
from ssh_identity import identity as identity
from ssh_machine import machine as machine
from sshd_here import make_sshd as make_sshd
from sshd_here import ssh_root as ssh_root
from sshd_here import sshd as sshd
from sshd_here import sshd_path as sshd_path
from tcp_relay import make_relay as make_relay
from terminal_fakes import attach as attach
from terminal_fakes import live as live

import skyward
from skyward._codec import EncodedFunction, decode, encode_call, encode_function
from skyward._modules import Bundle, collect

FAR_SIDE = """
import pickle, sys, traceback
from skyward.worker import modules, pickling
reply, sys.stdout = sys.stdout.buffer, sys.stderr
while True:
    try:
        bundles, function, arguments = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        for bundle in bundles:
            modules.install(bundle)
        loaded = pickling.loads(*function)
        args, kwargs = pickling.loads(*arguments)
        result = getattr(loaded, "__skyward_local__", loaded)(*args, **kwargs)
        data, buffers = pickling.dumps(result)
        answer = (True, (data, [bytearray(view) for view in buffers]))
    except BaseException:
        answer = (False, traceback.format_exc())
    pickle.dump(answer, reply)
    reply.flush()
"""


class Node:
    """Runs functions in a fresh process that sees skyward and installed packages, but none of the client's modules."""

    def __init__(self, directory: Path, extra_path: str = "") -> None:
        source = Path(skyward.__file__).parents[1]
        path = os.pathsep.join(filter(None, (extra_path, str(source))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", FAR_SIDE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": path},
        )

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Encode, run there, decode; a failure there is a ``RuntimeError`` with its traceback as text."""
        return self.run_encoded(encode_function(function), *args, **kwargs)

    def run_encoded(self, encoded: EncodedFunction, *args: Any, **kwargs: Any) -> Any:
        payload = encode_call(args, kwargs, encoded.name, print)
        bundles = [encoded.bundle, collect(payload.modules)]
        parts = [(p.data, [bytearray(view) for view in p.buffers]) for p in (encoded.payload, payload)]
        return self.run_raw(bundles, *parts)

    def run_raw(self, bundles: list[Bundle], function: Any, arguments: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        pickle.dump(([bundle.records() for bundle in bundles], function, arguments), stdin)
        stdin.flush()
        fine, answer = pickle.load(stdout)
        if not fine:
            raise RuntimeError(answer)
        return decode(*answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


@pytest.fixture
def own_ledgers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ledgers of pools are in the test's own folder: none of others are seen, and those that are left are found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of its own for the test."""
    made = Node(tmp_path_factory.mktemp("node"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that all tests of a module use, one after another."""
    made = Node(tmp_path_factory.mktemp("node"))
    yield made
    made.close()


@pytest.fixture
def node_beside(tmp_path: Path) -> Iterator[Callable[[Path], Node]]:
    """Makes nodes that have the modules in a directory of their own."""
    made: list[Node] = []

    def make(directory: Path) -> Node:
        made.append(Node(tmp_path, str(directory)))
        return made[-1]

    yield make
    for each in made:
        each.close()
