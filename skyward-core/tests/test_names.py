"""The names of ``import skyward``: one table, one surface, and every one of them explained."""

from __future__ import annotations

import ast
import contextlib
import enum
import inspect
import pkgutil
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

import skyward as sky
from skyward import _names, _places, _plugins
from skyward.errors import PluginNotInstalled

SURFACE = ast.parse(Path(sky.__file__).read_text())


def seen_by_checkers() -> dict[str, str]:
    """Name -> module, of the imports under ``TYPE_CHECKING``."""
    (block,) = [node for node in SURFACE.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    return {alias.asname or alias.name: f"{node.module}:{alias.name}" for node in imports for alias in node.names}


def test_the_table_of_names_is_what_type_checkers_see() -> None:
    modules = {name: place for name, place in _places.MODULES.items() if name not in ("spi", "testing")}
    table = {name: f"{place}:{name}" for name, place in _places.HOME.items()}
    table |= {name: ":".join(place.rsplit(".", 1)) for name, place in modules.items()}
    plugins = {name: f"{package.replace('-', '_')}:{name}" for name, package in _plugins.FIRST_PARTY.items()}
    assert seen_by_checkers() == table | plugins


def test_all_is_the_table() -> None:
    # spi and testing are surfaces of their own, which `from skyward import *` leaves alone.
    assert not _places.OWN ^ {*sky.__all__, "spi", "testing"}


@pytest.mark.parametrize("name", sorted(_places.OWN))
def test_every_name_resolves_to_what_its_module_has_and_is_kept(name: str) -> None:
    value = getattr(sky, name)
    assert value is _names.resolve(name)
    assert vars(sky)[name] is value


def test_dir_lists_every_name() -> None:
    assert not _places.OWN - set(dir(sky))


# Every `sky.X` and `sky.X.Y` that the reference documents mention.
MENTIONED: list[str] = re.findall(
    r"\S+",
    """
    AWS Accelerator AcceleratorSpec AcceleratorSpec.AMD AcceleratorSpec.AWS AcceleratorSpec.Google
    AcceleratorSpec.NVIDIA Allocation.AlwaysSpot Allocation.Cheapest Allocation.OnDemand Allocation.Percent
    Allocation.SpotIfAvailable AllProvidersFailedError BootstrapCompleted BootstrapPhase BootstrapProgress
    BootstrapStarting Callback ClusterDestroyed ClusterProvisioned ClusterReady ComputeFunction ComputePool Container
    CostFinal CostUpdate DigitalOcean DistributedSampler Error Executor Image InfraCreated InfraCreating
    InstanceBootstrapped InstanceInfo InstanceLaunched InstanceLaunching InstancePreempted InstanceProvisioned
    InstanceRunning InstanceStopping Local LogLine Metrics MultiPool NVIDIA NoAvailableProviderError NodeReady
    NodeReplaced PendingBatch PendingCompute PoolStopping RunPod S3Volume TaskCompleted TaskStarted VastAI Verda
    accelerators accelerators.T4 compose compute current_accelerator emit gather instance_info integrations.JoblibPool
    integrations.ScikitLearnPool integrations.jax integrations.joblib integrations.joblib_backend integrations.keras
    integrations.sklearn integrations.sklearn_backend integrations.tensorflow integrations.torch
    integrations.transformers is_nvidia is_trainium plugins.torch pool select_available select_cheapest select_first
    select_instance shard use_callback
""",
)


@pytest.mark.parametrize("path", MENTIONED)
def test_every_name_of_the_documents_is_there_or_says_what_to_install(path: str) -> None:
    value: object = sky
    parts = path.split(".")
    if parts[-1] in _plugins.FIRST_PARTY or (len(parts) == 2 and parts[-1] in _plugins.FIRST_PARTY_INTEGRATIONS):
        *parts, last = parts
        for part in parts:
            value = getattr(value, part)
        with contextlib.suppress(PluginNotInstalled):
            getattr(value, last)
        return
    for part in parts:
        value = getattr(value, part)


# docstrings


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(sky.__path__, "skyward."):
        if found.name != "skyward.worker.__main__":
            yield found.name


def public(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Classes and functions without a leading underscore."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node.name, node


@pytest.mark.parametrize("name", list(modules()))
def test_every_module_class_and_function_says_what_it_is(name: str) -> None:
    path = Path(sky.__file__).parent.joinpath(*name.split(".")[1:])
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    tree = ast.parse(source.read_text())
    if not tree.body:
        return
    last = dict(public(tree))  # the one that is there: those before it are overloads
    silent = [each for each, node in last.items() if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert ast.get_docstring(tree), f"{name} has no docstring"
    assert not silent, f"{name}: {silent} have no docstring"


@pytest.mark.parametrize("name", sorted(_places.HOME))
def test_every_name_of_the_surface_explains_itself_and_its_methods(name: str) -> None:
    value = getattr(sky, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return  # a type alias or a literal
    assert value.__doc__, f"sky.{name} has no docstring"
    if inspect.isclass(value) and not issubclass(value, enum.Enum):
        for attribute, member in vars(value).items():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if not attribute.startswith("_") and inspect.isfunction(function):
                assert function.__doc__, f"sky.{name}.{attribute} has no docstring"


# what it costs


def test_importing_skyward_and_decorating_loads_nothing_heavy() -> None:
    code = """
import sys
import traceback
before = set(sys.modules)  # a coverage run loads some
import skyward as sky
@sky.compute
def f(x: int) -> int: return x
f(1).dispatched = True
print(*(name for name in sys.argv[1:] if name in sys.modules and name not in before))
"""
    heavy = ["asyncio", "attr", "attrs", "boto3", "cloudpickle", "asyncssh", "inspect", "pluggy", "psutil", "rich"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_misspelt_name_is_guessed_once() -> None:
    with pytest.raises(AttributeError) as caught:
        sky.ComputPool  # type: ignore[attr-defined]  # noqa: B018
    [line] = traceback.format_exception_only(caught.value)
    assert line.casefold().count("did you mean") == 1
    assert ": did you mean 'ComputePool' or " in line
