"""The contracts of plugins: values that travel and hide secrets, and core's own provider as the first to keep them."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import skyward as sky
from skyward import spi
from skyward.model.spec import ComputeSpec
from skyward.spi import hooks

if TYPE_CHECKING:
    # Checkers compare the built-in provider with the protocols.
    provider: spi.Provider = sky.Local()


def identity() -> spi.PoolIdentity:
    return spi.PoolIdentity(pool_id="p1", owner="me@here", deadline=None, lease=None, token=b"a secret of the pool")


def offer(**more: Any) -> spi.Offer:
    return spi.Offer(provider="P", instance_type="small", region="here", **more)


VALUES = [
    spi.Capabilities(spot=True, default_lease=None),
    identity(),
    offer(details={"zone": "a", "disks": [1, 2]}),
    spi.Instance(id="i-1", state=spi.InstanceState.RUNNING, offer=offer(), details={"port": 22}),
    spi.LaunchRequest(offer=offer(), nodes=(0, 1), spec=ComputeSpec(nodes=2, image=sky.Image())),
    spi.Interpreter(python="/usr/bin/python3", front=("/a",)),
    spi.SshAddress(host="10.0.0.1", port=2222, host_key="ssh-ed25519 AAAA", key=spi.KeyPair("PRIVATE", "PUBLIC")),
    spi.SshProxy(command=("lead", "there"), environment={"TOKEN": "PRIVATE"}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_of_the_contract_are_frozen_and_survive_pickling_and_hashing(value: Any) -> None:
    arrived = pickle.loads(pickle.dumps(value))
    assert arrived == value
    assert hash(arrived) == hash(value)
    with pytest.raises(AttributeError):
        value.something_new = 1


def test_the_token_of_a_pool_is_shown_by_no_repr() -> None:
    assert "secret" not in repr(identity())
    assert "p1" in repr(identity())


def test_a_private_key_is_shown_by_no_repr() -> None:
    pair = spi.KeyPair("PRIVATE", "PUBLIC")
    address = spi.SshAddress(host="there", username="root", port=2222, key=pair)
    proxy = spi.SshProxy(command=("lead",), environment={"TOKEN": "PRIVATE"})
    assert "PRIVATE" not in f"{pair!r} {address!r} {address} {proxy!r} {proxy}"
    assert str(address) == "root@there:2222"


def test_what_a_plugin_declares_of_ssh_loads_no_asyncssh() -> None:
    code = "from skyward.spi import KeyPair, SshAddress, shielded; import sys; print('asyncssh' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "False\n"


@pytest.mark.parametrize("name", ["SshTransport", "new_key_pair"])
def test_where_asyncssh_is_missing_the_remedy_is_named(name: str) -> None:
    code = f"import sys; sys.modules['asyncssh'] = None; from skyward.spi import {name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError" in done.stderr
    assert "pip install 'skyward-core[ssh]'" in done.stderr


HELPERS = [name for name in spi.__all__ if name.islower() and name != "hookimpl"]


@pytest.mark.parametrize("name", HELPERS)
def test_every_helper_says_what_it_is_for(name: str) -> None:
    assert len((inspect.getdoc(getattr(spi, name)) or "").split()) > 15


def test_the_lists_of_states_and_contracts_are_closed() -> None:
    assert {state.value for state in spi.InstanceState} == {"pending", "running", "gone"}
    assert all(hasattr(spi, name) for name in spi.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = spi.nothing  # type: ignore[attr-defined]


HOOKS = [name for name, value in vars(hooks).items() if hasattr(value, "skyward_spec")]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_says_when_it_is_called_what_to_return_and_what_raising_does(name: str) -> None:
    text = inspect.getdoc(getattr(hooks, name)) or ""
    for part in ("Called once", "Return", "Example::", "@hookimpl", f"def {name}"):
        assert part in text
    assert "PluginError" in text or "exception is logged" in text


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_by_itself_brings_and_changes_nothing(name: str) -> None:
    hook = getattr(hooks, name)
    nothing = hook(*[None] * len(inspect.signature(hook).parameters))
    assert nothing is None or list(nothing) == []


def test_cores_own_provider_keeps_the_contract() -> None:
    async def visit() -> None:
        local = sky.Local()
        assert isinstance(local, spi.Provider)
        assert pickle.loads(pickle.dumps(local)) == local
        assert hash(local) == hash(sky.Local())
        session: spi.Session = await local.open(identity())
        try:
            assert [found.provider for found in await session.offers(ComputeSpec(nodes=1, image=sky.Image()))] == [
                "Local"
            ]
            assert await session.describe(["of-no-machine"]) == {}
            await session.terminate(["of-no-machine"])
            assert list(await session.list_owned("pool-that-never-was")) == []
        finally:
            await session.close()
            await session.close()

    asyncio.run(visit())
