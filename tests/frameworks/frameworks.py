"""Nodes with a framework: which versions the tests have there, and what the tests of all such integrations share.

The client has no framework. Its pools build environments for their nodes by uv, which reads ``versions.txt`` as
constraints and so keeps to it, whatever an image, an example or a page of the documentation asks for. Another file in
its place is tried by ``SKYWARD_TEST_FRAMEWORKS=FILE``. Environments are kept in the user's cache from run to run, and
so are the wheels in uv's.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest

import skyward as sky
from skyward import _plugins
from skyward.spi import NODE_FOLDER, ComputeSpec, Integration, Supplying
from skyward.testing import IntegrationConformance

__all__ = [
    "BASE",
    "FRAMEWORKS",
    "VERSIONS",
    "FrameworkConformance",
    "constraints",
    "engine",
    "image_for",
    "installed_plugins",
    "lacks",
    "linked",
    "mark",
    "needs",
    "pinned",
    "versions",
]

BASE = os.environ.get("SKYWARD_TEST_BASE", "localhost/debian-trixie-standin")
"""The image of the containers, which scripts/ci-containers.sh makes."""

VERSIONS = Path(os.environ.get("SKYWARD_TEST_FRAMEWORKS") or Path(__file__).parent / "versions.txt")

FRAMEWORKS = ("jax", "keras", "tensorflow", "torch", "transformers")

_NEWEST_PYTHON = {"tensorflow": (3, 13)}
"""Of frameworks that follow Python late, the last one that the version of the tests has wheels for."""
_COMPILED = ("jax", "keras", "tensorflow")  # torch, whatever the platform, is never left out


# ---- versions --------------------------------------------------------------------------------------------------------


def versions(path: Path = VERSIONS) -> dict[str, str]:
    """The version of each framework."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def pinned(requirements: Iterable[str]) -> tuple[str, ...]:
    """The requirements with the versions of the tests in them: for machines that have no file of constraints."""
    from packaging.requirements import Requirement

    known = versions()
    named = [Requirement(each) for each in requirements]
    return tuple(f"{each.name}=={known[each.name]}" if each.name in known else str(each) for each in named)


def constraints(path: Path = VERSIONS) -> Path:
    """A copy that is named by its content: of this file, the name is all that the key of an environment has."""
    content = path.read_bytes()
    copy = Path(tempfile.gettempdir()) / f"skyward-frameworks-{hashlib.sha256(content).hexdigest()[:16]}.txt"
    if not copy.exists() or copy.read_bytes() != content:
        new = copy.with_suffix(f".{os.getpid()}")
        new.write_bytes(content)
        new.replace(copy)
    return copy


def image_for(integration: Supplying, *more: str) -> sky.Image:
    """What the nodes of a pool with ``plugins=[integration]`` get, for pools without it: the same environment."""
    return sky.Image(pip=[*more, *integration.supplies(ComputeSpec(nodes=1, image=sky.Image())).pip])


def linked(image: sky.Image) -> sky.Image:
    """The image for containers of :func:`engine`: packages are links into what uv has fetched on this machine."""
    return sky.Image(pip=pinned(image.pip), env={"UV_LINK_MODE": "symlink"})


# ---- which tests -----------------------------------------------------------------------------------------------------


def lacks(
    framework: str,
    *,
    python: tuple[int, int] = sys.version_info[:2],
    machine: str | None = None,
    libc: str | None = None,
) -> str:
    """Why the framework cannot be had on a platform, by default this one; "" if it can be."""
    newest = _NEWEST_PYTHON.get(framework, python)
    if python > newest:
        return f"{framework}, which has no wheel for Python {python[0]}.{python[1]}"
    machine = platform.machine() if machine is None else machine
    libc = platform.libc_ver()[0] if libc is None else libc
    if framework in _COMPILED and (machine not in {"x86_64", "aarch64"} or libc != "glibc"):
        return f"{framework}, which has no wheel for {machine} with {libc or 'this C library'}"
    return ""


def needs(framework: str) -> list[pytest.MarkDecorator]:
    """The marks of a test whose nodes have the framework, of which one skips it where there can be none."""
    assert framework in FRAMEWORKS, f"no integration is for {framework}"
    # To fetch a framework, and to import it where everybody does, each take minutes.
    marks = [pytest.mark.slow, pytest.mark.frameworks, pytest.mark.timeout(1200)]
    if missing := lacks(framework):
        marks.append(pytest.mark.skip(reason=f"this test needs {missing}"))
    return marks


def mark(items: Iterable[pytest.Item], folder: Path, framework: str) -> None:
    """Mark the tests of a package that need nodes with its framework: the slow ones, and the kit's on nodes.

    Call it from ``pytest_collection_modifyitems``, first of all, since it is by these marks that tests are chosen.
    """
    for item in items:
        on_nodes = item.get_closest_marker("slow") or item.name.startswith("test_it_runs_on_a_node")
        if on_nodes and folder in item.path.parents:
            for each in needs(framework):
                item.add_marker(each)


# ---- fixtures, which a conftest imports by their names ---------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def installed_plugins() -> Iterator[None]:
    """The plugins that are installed, of which nodes with an environment of their own get copies; and the versions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKYWARD_DISABLE_PLUGINS", "")
        patch.setenv("UV_CONSTRAINT", str(constraints()))
        _plugins.forget()
        yield
    _plugins.forget()


@pytest.fixture
def engine(tmp_path: Path, require: Any) -> str:
    """podman, whose containers find what the client's uv has fetched already: several GB, and they only need links.

    It is the ``binary`` of their provider; the image of the pool is :func:`linked`.
    """
    podman = shutil.which("podman")
    trial = ("run", "--rm", "--pull", "never", "--network", "none", BASE, "true")
    works = podman and not subprocess.run((podman, *trial), capture_output=True).returncode
    require(works, f"podman, and the image {BASE}, which scripts/ci-containers.sh makes")
    cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
    cache.mkdir(parents=True, exist_ok=True)
    program = tmp_path / "podman"
    program.write_text(
        # An overlay: what a container writes there goes with it.
        f'#!/bin/sh\ncase "$1" in run) shift; set -- run --volume "{cache}:{NODE_FOLDER}/cache:O" "$@" ;; esac\n'
        f'exec {podman} "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


# ---- conformance -----------------------------------------------------------------------------------------------------


class FrameworkConformance(IntegrationConformance):
    """The rules of integrations, all on one node that has the framework, which takes long to import.

    So the pool of the rule about decorators has the plugin, too; how a decorator does alone is what the groups' tests
    are about.
    """

    plugin: ClassVar[Any]
    """The integration."""
    packages: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    """What else the nodes have, so that they have the environment of the package's other tests."""
    _opened: ClassVar[ExitStack]
    _pool: ClassVar[sky.ComputePool | None]

    @pytest.fixture
    def integration(self) -> Integration:
        found: Integration = self.plugin
        return found

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _one_pool(cls) -> Iterator[None]:
        with ExitStack() as cls._opened:
            cls._pool = None
            yield

    def pool(self, *plugins: Integration) -> AbstractContextManager[sky.ComputePool]:
        cls = type(self)
        if cls._pool is None:
            made = sky.ComputePool(
                nodes=1, plugins=[cls.plugin], image=sky.Image(pip=cls.packages), display="quiet", lease=60
            )
            cls._pool = cls._opened.enter_context(made)
        return nullcontext(cls._pool)
