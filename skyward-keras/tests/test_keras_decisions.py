"""What is decided without Keras: the backend, what nodes need for it, and which processes can serve."""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attrs import evolve

import skyward as sky
from skyward.spi import ComputeSpec, Group
from skyward_jax import jax
from skyward_keras import Keras, keras
from skyward_keras._binding import bound_to, imported_with
from skyward_keras._session import session

SPEC = ComputeSpec(nodes=2, image=sky.Image())


@pytest.mark.parametrize(
    ("backend", "package"), [("jax", "jax"), ("tensorflow", "tensorflow"), ("torch", "torch"), (" JAX ", "jax")]
)
def test_nodes_get_keras_and_what_its_backend_needs(backend: str, package: str) -> None:
    found = keras(backend=backend).supplies(SPEC)
    assert found.private_network
    assert found.env["KERAS_BACKEND"] == package
    assert found.pip[0].startswith("keras>=")
    assert any(each.startswith(f"{package}>=") for each in found.pip)
    assert found.preload[-1] == "keras"


def test_the_backend_is_jax_unless_another_is_named() -> None:
    assert keras() == keras == Keras(backend="jax")


@pytest.mark.parametrize(("backend", "said"), [("jxa", "did you mean 'jax'"), ("mxnet", "use 'jax'"), (3, "use 'jax'")])
def test_a_backend_that_there_is_not_is_refused(backend: object, said: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=said):
        keras(backend=backend)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"wheels": "pypi"}, "give backend='torch'"),
        ({"backend": "tensorflow", "wheels": "pypi"}, "give backend='torch'"),
        ({"backend": "torch", "cuda": 13}, "give backend='jax'"),
        ({"backend": "torch", "wheels": "cuda"}, "wheels='cuda' names no builds"),
        ({"cuda": 11}, "give 12 or 13"),
    ],
)
def test_a_setting_that_the_backend_does_not_have_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=said):
        keras(**settings)


def test_the_user_says_which_builds_of_the_backend_the_nodes_get() -> None:
    assert keras(backend="torch").supplies(SPEC).env["UV_TORCH_BACKEND"] == "auto"
    assert "UV_TORCH_BACKEND" not in keras(backend="torch", wheels="pypi").supplies(SPEC).env
    gpus = evolve(SPEC, accelerator=sky.accelerators.H100())
    assert any(each.startswith("jax[cuda12]") for each in keras(backend="jax").supplies(gpus).pip)
    assert any(each.startswith("jax[cuda13]") for each in keras(backend="jax", cuda=13).supplies(gpus).pip)


def imported(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """Keras is being imported: the first of its modules is there, and has settled the backend."""
    module = ModuleType("keras.src.backend.config")
    module.backend = lambda: backend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_process_with_another_backend_has_to_be_renewed_however_little_of_keras_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert imported_with() is None
    assert bound_to("jax", 2) == ""
    imported(monkeypatch, "torch")
    assert bound_to("jax", 2) is None
    assert bound_to("torch", 2) == ""


@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_a_function_tells_core_what_its_process_is_bound_to(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @keras(backend=backend)
    def train() -> None: ...

    asked = vars(train)["bound_to"]
    assert asked(2) == ""
    imported(monkeypatch, "another")
    assert asked(2) is None
    assert train.together
    assert callable(vars(train)["is_consequence"])


@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_the_backend_nearest_to_the_function_stands(backend: str) -> None:
    def train() -> None: ...

    below: Any = getattr(sky.integrations, backend)
    made = keras(backend=backend)(train)
    assert keras(backend="torch" if backend == "jax" else "jax")(made) is made
    assert below(made) is made


@pytest.mark.parametrize("order", [(keras, jax), (jax, keras)])
def test_keras_is_distributed_inside_the_group_of_jax_in_whatever_order_both_are_applied(order: Any) -> None:
    def train() -> None: ...

    first, second = order
    assert vars(second(first(train)))["skyward_integrations"] == ("jax", "keras")


def test_by_itself_a_function_has_the_backend_and_leaves_the_variable_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with session("jax"):
        assert os.environ["KERAS_BACKEND"] == "jax"
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_keras_with_another_backend_is_refused_where_the_process_cannot_be_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported(monkeypatch, "torch")
    with pytest.raises(RuntimeError, match="backend='jax'"), session("jax"):
        pass


class FakeKeras(ModuleType):
    """What a process of a group uses of Keras; it notes what is called, and whether a stop could strike there."""

    def __init__(self, failing: str = "") -> None:
        super().__init__("keras")
        self.__spec__ = ModuleSpec("keras", None)
        self.failing = failing
        self.called: list[tuple[str, bool]] = []
        self.stoppable = True
        self.utils = SimpleNamespace(
            clear_session=lambda *, free_memory: self.call("clear_session"), set_random_seed=self.seed
        )
        self.distribution = SimpleNamespace(
            DataParallel=lambda *, auto_shard_dataset: "parallel",
            set_distribution=lambda which: self.call(f"set_distribution({which})"),
        )

    def call(self, name: str) -> None:
        self.called.append((name, self.stoppable))
        if name == self.failing and not self.stoppable:
            raise OSError(name)

    def seed(self, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed)


@pytest.mark.parametrize("failing", ["", "set_distribution(None)", "clear_session"])
def test_all_of_a_groups_state_is_taken_back_and_no_stop_strikes_meanwhile(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = FakeKeras(failing)

    @contextmanager
    def uninterrupted() -> Iterator[None]:
        keras.stoppable = False
        yield

    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setattr("skyward_keras._session.current_group", lambda: Group("call", 0, (), None))
    monkeypatch.setattr("skyward_keras._session.uninterrupted", uninterrupted)
    before = random.getstate(), list(np.random.get_state()[1])
    with pytest.raises(OSError, match=re.escape(failing)) if failing else nullcontext(), session("jax"):
        random.random()
    assert (random.getstate(), list(np.random.get_state()[1])) == before
    assert keras.called == [
        ("clear_session", True),
        ("set_distribution(parallel)", True),
        ("set_distribution(None)", False),
        ("clear_session", False),
    ]


@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_a_node_without_keras_says_how_to_get_it(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyward_keras._session.find_spec", lambda name: None)
    monkeypatch.setattr("skyward_keras._session.current_group", lambda: Group("call", 0, (), None))
    with (
        pytest.raises(ModuleNotFoundError, match="keras is not installed on this node: add plugins="),
        session(backend),
    ):
        pass
