"""The exceptions survive the wire, and their module's docstring tells the truth."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from skyward import errors

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
EXCEPTIONS = [cls for cls in CLASSES if issubclass(cls, errors.SkywardError)]

# A value unlike the default for every attribute that some class takes.
ATTRIBUTES = {
    "phase": "deps",
    "command": "uv pip install nothing-of-that-name",
    "output": "line 1\nline 2",
    "retry_after": 2.5,
    "node": 3,
    "slot": 1,
    "path": "argument 'config'['lock']",
    "code": {"any": "object"},
    "signal": 9,
    "exit_code": 137,
    "out_of_memory": True,
    "quota": "Running On-Demand P instances",
    "url": "https://console.example.com/quotas",
}


def attributes_of(cls: type[errors.SkywardError]) -> dict[str, object]:
    names = [name for name in inspect.signature(cls).parameters if name != "message"]
    return {name: ATTRIBUTES[name] for name in names}


@pytest.mark.parametrize("cls", EXCEPTIONS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_exception_pickles_with_its_message_attributes_and_notes(
    cls: type[errors.SkywardError], protocol: int
) -> None:
    original = cls("it broke; mend it", **attributes_of(cls))
    original.add_note("seen on node 3")
    arrived = pickle.loads(pickle.dumps(original, protocol))
    assert type(arrived) is cls
    assert (str(arrived), arrived.message, arrived.args) == ("it broke; mend it", "it broke; mend it", original.args)
    assert vars(arrived) == vars(original)
    assert {name: getattr(arrived, name) for name in attributes_of(cls)} == attributes_of(cls)


@pytest.mark.parametrize("cls", EXCEPTIONS, ids=lambda cls: cls.__name__)
def test_every_exception_copies_and_can_be_raised_bare(cls: type[errors.SkywardError]) -> None:
    assert vars(copy.copy(cls("m", **attributes_of(cls)))) == attributes_of(cls)
    with pytest.raises(cls):
        raise cls


@pytest.mark.parametrize("cls", EXCEPTIONS, ids=lambda cls: cls.__name__)
def test_every_exception_keeps_attributes_out_of_its_positional_arguments(cls: type[errors.SkywardError]) -> None:
    parameters = inspect.signature(cls).parameters
    assert next(iter(parameters)) == "message"
    assert all(p.kind is p.KEYWORD_ONLY for name, p in parameters.items() if name != "message")


def test_the_tree_in_the_docstring_is_the_real_tree() -> None:
    assert drawn_tree() == {
        cls.__name__: cls.__bases__[0].__name__ for cls in EXCEPTIONS if cls is not errors.SkywardError
    }


def test_the_builtin_bases_in_the_docstring_are_real_ones() -> None:
    for name, builtin in re.findall(r"(\w+) \((\w+)\)", errors.__doc__ or ""):
        assert builtin in {base.__name__ for base in getattr(errors, name).__bases__}


def test_all_lists_every_class_of_the_module_in_order() -> None:
    assert errors.__all__ == sorted(cls.__name__ for cls in CLASSES)


def test_every_exception_says_in_its_docstring_what_it_means() -> None:
    assert not [cls.__name__ for cls in CLASSES if not cls.__dict__.get("__doc__")]


def drawn_tree() -> dict[str, str]:
    """Class name -> parent's name, from the indentation of the drawing."""
    parents: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ((?:│   |    )*)(├── |└── )?(\w+)", line):
            depth = 0 if found[2] is None else len(found[1]) // 4 + 1
            branch[depth:] = [found[3]]
            if depth:
                parents[found[3]] = branch[depth - 1]
    return parents
