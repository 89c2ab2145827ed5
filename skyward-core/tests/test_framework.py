"""What integrations of frameworks use on a node: variables for the time of a call, interfaces, causes and words."""

from __future__ import annotations

import builtins
import os
from typing import Any

import pytest

from skyward.spi import (
    any_cause,
    environ_with,
    interface_of,
    listening_variables,
    not_on_this_node,
    uninterrupted,
)


def test_variables_are_what_they_were_however_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_OLD", "old")
    monkeypatch.setenv("ACME_GONE", "here")
    monkeypatch.delenv("ACME_NEW", raising=False)
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117
        with environ_with({"ACME_OLD": "new", "ACME_NEW": "1", "ACME_GONE": None, "ACME_NEVER": None}):
            assert (os.environ["ACME_OLD"], os.environ["ACME_NEW"]) == ("new", "1")
            assert "ACME_GONE" not in os.environ
            os.environ["ACME_OLD"] = os.environ["ACME_NEVER"] = "changed by the function"
            del os.environ["ACME_NEW"]
            raise ZeroDivisionError
    assert (os.environ["ACME_OLD"], os.environ["ACME_GONE"]) == ("old", "here")
    assert not {"ACME_NEW", "ACME_NEVER"} & set(os.environ)


@pytest.mark.parametrize("psutil", [True, False])
def test_the_interface_of_an_address_is_found_with_and_without_psutil(
    monkeypatch: pytest.MonkeyPatch, psutil: bool
) -> None:
    load = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "psutil":
            raise ImportError(name)
        return load(name, *rest)

    if not psutil:
        monkeypatch.setattr(builtins, "__import__", without)
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") is None  # of a network that is for examples alone


def test_the_interface_of_an_address_of_the_next_generation_is_found(require: Any) -> None:
    require(os.path.exists("/proc/net/if_inet6"), "IPv6", ci=False)
    with open("/proc/net/if_inet6", encoding="ascii") as lines:
        loopback = any(line.startswith("0" * 31 + "1 ") for line in lines)
    require(loopback, "an IPv6 address of the loopback interface", ci=False)
    assert interface_of("::1") == "lo"


def test_libraries_listen_at_the_interface_of_the_address_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    assert listening_variables("127.0.0.1", gloo=True) == {"GLOO_SOCKET_IFNAME": "lo", "TP_SOCKET_IFNAME": "lo"}
    assert listening_variables("127.0.0.1", nccl=True) == {"NCCL_SOCKET_IFNAME": "=lo"}
    assert listening_variables("192.0.2.1", gloo=True, nccl=True) == {}
    assert listening_variables("127.0.0.1") == {}


def test_an_interface_that_the_pool_names_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth,ib")
    assert listening_variables("127.0.0.1", nccl=True) == {"NCCL_SOCKET_IFNAME": "eth,ib"}


def test_a_module_that_a_node_lacks_is_told_with_both_ways_to_get_it() -> None:
    error = not_on_this_node("accelerate", "transformers", "transformers[torch]")
    assert error.name == "accelerate"
    assert str(error) == (
        "accelerate is not installed on this node: add plugins=[sky.integrations.transformers()] or "
        'Image(pip=["transformers[torch]"])'
    )
    assert str(not_on_this_node("jax", "jax")).endswith('Image(pip=["jax"])')


def test_an_error_is_asked_for_all_that_it_was_raised_from_and_for_each_once() -> None:
    first, second, third = ValueError("1"), OSError("2"), KeyError("3")
    third.__cause__, second.__cause__ = second, first
    assert any_cause(third, lambda error: isinstance(error, ValueError))
    assert not any_cause(second, lambda error: isinstance(error, KeyError))
    first.__cause__ = third  # as some code does that raises again what it has kept
    asked: list[BaseException] = []
    assert not any_cause(third, asked.append)  # type: ignore[arg-type]
    assert asked == [third, second, first]


def test_where_nothing_is_stopped_nothing_is_held_up() -> None:
    with uninterrupted():
        assert True
