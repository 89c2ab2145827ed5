"""The reference pages list exactly what exists: parameters, events, errors, hooks, kinds of frames, modules."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import attrs

import skyward as sky
from skyward import errors, testing
from skyward.model import events
from skyward.spi import hooks
from skyward.worker.protocol import Kind

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "skyward-core" / "src" / "skyward"


def rows(page: str, first_column: str) -> list[list[str]]:
    """The cells of every table of a page whose first column has this heading, row by row."""
    found: list[list[str]] = []
    inside = False
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == first_column:
            inside = True
        elif inside and not set("".join(cells)) <= set("-: "):
            found.append(cells)
    assert found, f"{page} has no table whose first column is {first_column!r}"
    return found


def names(cell: str) -> list[str]:
    """What a cell names in code spans."""
    return re.findall(r"`(\w+)`", cell)


def test_the_pools_page_has_every_parameter_with_its_default() -> None:
    signature = inspect.signature(sky.ComputePool)
    expected = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    table = rows("docs/pools.md", "parameter")
    written = {names(name)[0]: ast.literal_eval(default.strip("`")) for name, default, _ in table}
    assert written == expected
    assert list(written) == list(expected), "in the signature's order"


def test_the_images_page_has_every_parameter() -> None:
    written = [names(row[0])[0] for row in rows("docs/images.md", "parameter")]
    assert written == list(inspect.signature(sky.Image).parameters)


def test_the_events_page_has_every_event_with_its_fields() -> None:
    written = {names(event)[0]: names(fields) for event, fields, _ in rows("docs/events.md", "event")}
    expected = {event.__name__: [field.name for field in attrs.fields(event)] for event in events.EVENTS}
    assert written == expected


def test_the_events_page_has_every_other_name_of_an_event() -> None:
    named = {name for name in events.__all__ if inspect.isclass(getattr(events, name))}
    text = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    written = set(re.findall(r"Also named `(\w+)`", text))
    assert written == named - {event.__name__ for event in events.EVENTS}


def test_the_errors_page_has_every_error_with_its_bases() -> None:
    written = {names(error)[0]: names(bases) for error, bases, *_ in rows("docs/errors.md", "error")}
    for error, bases in written.items():
        assert bases
        assert all(base in {found.__name__ for found in getattr(errors, error).__mro__} for base in bases), error
    exist = {name for name in errors.__all__ if issubclass(getattr(errors, name), errors.SkywardError)}
    assert set(written) == exist


def test_the_errors_page_has_every_warning() -> None:
    warnings = [name for name in errors.__all__ if issubclass(getattr(errors, name), Warning)]
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in warnings)


def test_the_plugins_page_has_every_hook() -> None:
    written = [names(row[0])[0] for row in rows("docs/plugins.md", "hook")]
    exist = [name for name, value in vars(hooks).items() if hasattr(value, "skyward_spec")]
    assert sorted(written) == sorted(exist)


def test_the_architecture_has_every_kind_of_frame() -> None:
    written = [name for row in rows("ARCHITECTURE.md", "kind") for name in re.findall(r"`([A-Z_]+)`", row[0])]
    assert sorted(written) == sorted(kind.name for kind in Kind)


def layers() -> dict[str, int]:
    """The modules that the layers' contract names, each with the number of its layer, 0 at the top."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [contract] = [contract for contract in contracts if contract["id"] == "layers"]
    return {name: place for place, line in enumerate(contract["layers"]) for name in re.findall(r"\w+", line)}


def test_the_layers_of_the_architecture_are_those_that_are_enforced() -> None:
    place = layers()
    last = -1
    for layer, modules, *_ in rows("ARCHITECTURE.md", "layer"):
        found = names(modules)
        assert found, layer
        for name in found:
            assert (SOURCE / f"{name}.py").exists() or (SOURCE / name).is_dir(), f"there is no module {name}"
            assert name in place, f"the contract does not name {name}"
        lowest, highest = max(place[name] for name in found), min(place[name] for name in found)
        assert highest > last, f"{layer} stands too low in the table"
        last = lowest


def test_the_plugins_page_has_every_rule_of_the_conformance_kit() -> None:
    for kind, kit in {
        "provider": testing.ProviderConformance,
        "selector": testing.SelectorConformance,
        "allocation": testing.AllocationConformance,
        "integration": testing.IntegrationConformance,
    }.items():
        column = {"provider": "of a provider", "selector": "of a selector"}.get(kind, f"of an {kind}")
        cells = [
            cell.partition("(")[0] for _, cell in rows("docs/plugins.md", column)
        ]  # what sets it stands in brackets
        written = [f"test_{name}" for cell in cells for name in names(cell)]
        assert sorted(written) == sorted(name for name in dir(kit) if name.startswith("test_"))
