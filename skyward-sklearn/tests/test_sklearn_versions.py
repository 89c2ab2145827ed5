"""The nodes have the client's versions of what is pickled; what asks for others is refused."""

from __future__ import annotations

import pickle
import sys
import tomllib
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import joblib as real_joblib
import numpy as np
import pytest
import sklearn as real_sklearn
from hypothesis import given
from hypothesis import strategies as st

import skyward as sky
from skyward.spi import ComputeSpec
from skyward.testing import FakeCloud
from skyward_sklearn import JoblibPool, ScikitLearnPool, _pins, joblib, sklearn, sklearn_backend
from skyward_sklearn._versions import DISTRIBUTIONS, Versions

PINS = {
    "joblib": f"joblib=={real_joblib.__version__}",
    "numpy": f"numpy=={np.__version__}",
    "scipy": f"scipy=={import_module('scipy').__version__}",
    "scikit-learn": f"scikit-learn=={real_sklearn.__version__}",
}


def ordered(pool: type[sky.ComputePool], **parameters: Any) -> tuple[str, ...]:
    """What the machines of a pool are told to install."""
    with FakeCloud(nodes="simulated") as cloud:
        with pool(cloud.provider, display="quiet", **parameters):
            (order,) = cloud.called("launch")
        return tuple(order.spec.image.pip)


def supplied(integration: Any, *pip: str) -> tuple[str, ...]:
    spec = ComputeSpec(nodes=1, image=sky.Image(pip=pip))
    found: tuple[str, ...] = integration.supplies(spec).pip
    return found


# ---- what the nodes get ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "parameters"), [(ScikitLearnPool, {}), (sky.ComputePool, {"plugins": [sklearn]})], ids=["pool", "plugin"]
)
def test_machines_are_ordered_with_the_clients_versions(pool: Any, parameters: dict[str, Any]) -> None:
    assert {*PINS.values()} <= set(ordered(pool, **parameters))


def test_a_package_that_the_image_names_without_a_version_gets_the_clients() -> None:
    image = sky.Image(pip=["joblib", "scikit-learn>=1.0", "pandas"])
    has = ordered(ScikitLearnPool, image=image)
    assert has[:3] == image.pip
    assert {*PINS.values()} <= set(has)


def test_joblib_alone_brings_what_the_client_has_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {*PINS.values()} <= set(supplied(joblib()))
    monkeypatch.delitem(sys.modules, "sklearn")
    monkeypatch.delitem(sys.modules, "scipy")
    assert {*PINS.values()} & set(supplied(joblib())) == {PINS["joblib"], PINS["numpy"]}


def test_what_tells_a_build_apart_is_not_asked_of_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pins, "version", lambda _name: "1.7.0+local.3")
    assert _pins.pins(["joblib"]) == ("joblib==1.7.0",)


# ---- what is refused before anything is bought -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: JoblibPool(joblib_version="0.1"), "pip install joblib==0.1"),
        (lambda: joblib(joblib_version="0.1"), "pip install joblib==0.1"),
        (lambda: ScikitLearnPool(sklearn_version="0.1"), "pip install scikit-learn==0.1"),
        (lambda: sklearn(sklearn_version="0.1"), "pip install scikit-learn==0.1"),
    ],
)
def test_another_version_than_the_clients_is_refused_with_the_remedy(make: Any, remedy: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=f"does not cross versions; leave it out .*{remedy}"):
        make()


@pytest.mark.parametrize(("given", "what"), [("newest", "no version"), (1.6, "no string"), (">=1.4", "no version")])
def test_what_is_no_version_is_refused_with_the_clients(given: Any, what: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=f"which is {what}; write joblib_version='{PINS['joblib'][8:]}'"):
        JoblibPool(joblib_version=given)


@pytest.mark.parametrize(("integration", "parameter"), [(joblib, "joblib_version"), (sklearn, "sklearn_version")])
def test_a_version_without_its_name_is_refused(integration: Any, parameter: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=rf"write {integration.name}\({parameter}='1\.6\.0'\)"):
        integration("1.6.0")


@pytest.mark.parametrize("form", ["{}", "{}.0", "v{}"])
def test_the_clients_version_is_taken_in_each_of_its_spellings(form: str) -> None:
    version = form.format(real_joblib.__version__)
    assert joblib(joblib_version=version).joblib_version == version


@pytest.mark.parametrize("asked", ["scikit-learn==1.0", "Scikit_Learn<1", "numpy~=1.0", "scipy>=99", "joblib!={}"])
def test_an_image_with_other_versions_is_refused_before_anything_is_bought(asked: str) -> None:
    image = sky.Image(pip=[asked.format(real_joblib.__version__)])
    with FakeCloud(nodes="simulated") as cloud:
        with pytest.raises(sky.ConfigurationError, match="does not cross versions; leave it out of pip"):
            ScikitLearnPool(cloud.provider, image=image, display="quiet").__enter__()
        assert cloud.called("launch") == []


@pytest.mark.parametrize(
    "asked",
    [
        "scikit-learn",
        *PINS.values(),
        "numpy>=1",
        "joblib @ https://example.org/joblib.whl",
        "numpy<1; python_version<'3'",
    ],
)
def test_what_the_clients_versions_satisfy_or_nobody_can_tell_is_let_be(asked: str) -> None:
    assert supplied(sklearn(), asked)


@given(st.sampled_from([*PINS]), st.integers(0, 99), st.integers(0, 99))
def test_a_pin_of_the_image_is_refused_exactly_when_it_is_not_the_clients(name: str, major: int, minor: int) -> None:
    pin = f"{name}=={major}.{minor}.7777"
    with pytest.raises(sky.ConfigurationError, match=r"does not cross versions"):
        _pins.check_image([pin])
    _pins.check_image([PINS[name]])


def test_without_scikit_learn_on_the_client_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "scikit-learn":
            raise PackageNotFoundError(name)
        return "1.6.0"

    monkeypatch.setattr(_pins, "version", version)
    pool = sky.ComputePool(display="quiet")
    for use in (ScikitLearnPool, sklearn, lambda: supplied(sklearn), lambda: sklearn_backend(pool)):
        with pytest.raises(sky.ConfigurationError, match="pip install scikit-learn"):
            use()
    JoblibPool(display="quiet")


# ---- what a node refuses ---------------------------------------------------------------------------------------------


class Bomb:
    """Stands for what does not survive another version."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _explode, ("unpickled",)


def _explode(what: str) -> None:
    raise AssertionError(what)


def test_other_versions_are_refused_before_anything_else_is_unpickled() -> None:
    data = pickle.dumps((Versions((("joblib", "0.1"), ("sklearn", "0.2"))), Bomb()))
    with pytest.raises(sky.ConfigurationError) as refused:
        pickle.loads(data)
    said = str(refused.value)
    assert f"joblib {real_joblib.__version__} where the client has 0.1" in said
    assert "plugins=[sky.integrations.sklearn()]" in said
    assert "image=sky.Image(pip=['joblib==0.1', 'scikit-learn==0.2'])" in said


def test_the_same_versions_and_those_of_what_is_not_there_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Versions.of_client().expected
    assert dict(expected).keys() == DISTRIBUTIONS.keys()
    monkeypatch.setitem(DISTRIBUTIONS, "no_such_module", "no-such-distribution")
    assert pickle.loads(pickle.dumps(Versions((*expected, ("no_such_module", "1"))))).expected[-1][1] == "1"


def test_a_node_without_joblib_is_told_apart_from_one_with_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "joblib")
    monkeypatch.setitem(DISTRIBUTIONS, "joblib", "no-such-distribution")
    with pytest.raises(sky.ConfigurationError, match=r"has no no-such-distribution where the client has 9\.9"):
        pickle.loads(pickle.dumps(Versions((("joblib", "9.9"),))))


def test_a_client_speaks_of_what_it_has_imported_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn")
    assert "sklearn" not in dict(Versions.of_client().expected)


def test_a_version_that_is_not_loaded_here_is_read_from_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn")
    pickle.loads(pickle.dumps(Versions((("sklearn", real_sklearn.__version__),))))
    with pytest.raises(sky.ConfigurationError, match=r"scikit-learn .* where the client has 0\.3"):
        pickle.loads(pickle.dumps(Versions((("sklearn", "0.3"),))))


def test_the_nodes_get_a_threadpoolctl_that_this_package_works_with() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    (bound,) = (each for each in project["dependencies"] if each.startswith("threadpoolctl"))
    for integration in (joblib, sklearn):
        assert bound in supplied(integration)
