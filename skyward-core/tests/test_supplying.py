"""What integrations supply is put together with the image, or refused before anything is bought."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st
from road_fakes import FakeProvider, Journey, run

import skyward as sky
from skyward import _hooks, _supplying
from skyward._supplying import is_here, supplied, title_of, together_with
from skyward.spi import Capabilities, ComputeSpec, Supplies, Supplying

HAS = version("attrs")


@frozen
class Giving:
    """Supplies this, and notes each request."""

    answer: Any = field(factory=Supplies)
    name: str = "acme"
    asked: list[ComputeSpec] = field(factory=list, eq=False)

    def __call__(self, function: Any) -> Any:
        return function

    def supplies(self, spec: ComputeSpec) -> Supplies:
        self.asked.append(spec)
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: Supplies = self.answer
        return answer


def merged(image: sky.Image, *found: Supplies) -> sky.Image:
    return together_with(image, [(f"integration {number}", each) for number, each in enumerate(found, 1)])


# the value


def test_supplies_are_a_value_of_tuples_by_the_rules_of_an_image() -> None:
    supplies = Supplies(pip=["six", "six"], env={"A": "1"}, preload=["json", "json", "os.path"])
    assert (supplies.pip, supplies.preload) == (("six",), ("json", "os.path"))
    assert hash(supplies) == hash(Supplies(pip=("six",), env={"A": "1"}, preload=("json", "os.path")))
    assert Supplies() == Supplies(pip=[], pip_extra_index_url=None, env={}, preload=(), private_network=False)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"pip": "six"}, r"write pip=\['six'\]"),
        ({"pip": ["./here"]}, "a path on this machine"),
        ({"pip_extra_index_url": "here"}, "is not the URL of a package index"),
        ({"env": {"A": 1}}, "must be a string, not int"),
        ({"preload": ["os; exit()"]}, "preload has 'os; exit.*'; give names of modules"),
        ({"preload": [""]}, "preload has ''; give names"),
        ({"private_network": 1}, "private_network is 1; give True or False"),
        ({"group": True}, "group is True; give the name of the integration that forms it"),
        ({"group": ""}, "group is ''; give the name"),
    ],
)
def test_malformed_supplies_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(sky.ConfigurationError, match=says):
        Supplies(**wrong)


def test_no_repr_of_supplies_shows_a_secret() -> None:
    shown = repr(Supplies(pip_extra_index_url="https://user:hunter22@host/simple", env={"TOKEN": "hunter23"}))
    assert "host/simple" in shown
    assert "TOKEN" in shown
    assert "hunter2" not in shown


# together with the image


def test_what_the_image_says_itself_stands() -> None:
    image = sky.Image(
        pip=["Scikit.Learn[plots]==1.5", "six"], env={"MINE": "1", "BOTH": "mine"}, pip_extra_index_url="https://mine/"
    )
    supplies = Supplies(
        pip=["scikit-learn==1.6", "joblib"], env={"BOTH": "theirs", "NEW": "1"}, pip_extra_index_url="https://theirs/"
    )
    assert merged(image, supplies) == sky.Image(
        pip=["Scikit.Learn[plots]==1.5", "six", "joblib"],
        env={"MINE": "1", "BOTH": "mine", "NEW": "1"},
        pip_extra_index_url="https://mine/",
    )


def test_two_integrations_may_need_the_same() -> None:
    same = Supplies(pip=["joblib==1.4"], env={"A": "1"}, pip_extra_index_url="https://host/simple")
    wider = Supplies(pip=["joblib>=1.3"], env={"A": "1"})
    assert merged(sky.Image(), same, same, wider) == sky.Image(
        pip=["joblib==1.4", "joblib>=1.3"], env={"A": "1"}, pip_extra_index_url="https://host/simple"
    )


CONTRADICTIONS = {
    "versions": (
        Supplies(pip=["six==1.16"]),
        Supplies(pip=["SIX>=1.17"]),
        "integration 1 needs six==1.16, and integration 2 needs SIX>=1.17: name the version",
        sky.Image(pip=["six==1.15"]),
    ),
    "indexes": (
        Supplies(pip_extra_index_url="https://me:hunter22@one/simple"),
        Supplies(pip_extra_index_url="https://two/simple"),
        "integration 1 needs the package index https://***@one/simple, and integration 2 needs https://two/simple: ",
        sky.Image(pip_extra_index_url="https://three/simple"),
    ),
    "variables": (
        Supplies(env={"TOKEN": "hunter22"}),
        Supplies(env={"TOKEN": "hunter23"}),
        "integration 1 and integration 2 set the variable TOKEN to different values: set it yourself",
        sky.Image(env={"TOKEN": "mine"}),
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_integrations_that_contradict_each_other_are_refused_unless_the_image_decides(what: str) -> None:
    one, two, says, decided = CONTRADICTIONS[what]
    with pytest.raises(sky.ConfigurationError) as caught:
        merged(sky.Image(), one, two)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert merged(decided, one, two) == decided


def test_a_variable_of_the_pool_decides_as_one_of_the_image_does() -> None:
    one, two, _, _ = CONTRADICTIONS["variables"]
    assert "TOKEN" in together_with(sky.Image(), [("one", one), ("two", two)], {"TOKEN": "mine"}).env


NAMES = st.sampled_from(["joblib", "numpy", "scikit-learn", "Scikit_Learn", "scipy", "six"])
REQUIREMENTS = st.builds("{}{}".format, NAMES, st.sampled_from(["", ">=1", "<9", "[extra]", " ; python_version>'3'"]))


@given(st.lists(REQUIREMENTS, unique=True), st.lists(st.lists(REQUIREMENTS, unique=True), max_size=3))
def test_the_images_requirements_come_first_and_no_package_of_theirs_is_named_by_others(
    own: list[str], theirs: list[list[str]]
) -> None:
    image = sky.Image(pip=own)
    pip = merged(image, *(Supplies(pip=each) for each in theirs)).pip
    assert pip[: len(image.pip)] == image.pip
    added = pip[len(image.pip) :]
    assert len(set(added)) == len(added)
    named = {_supplying._package(each) for each in own}
    assert {_supplying._package(each) for each in added if not each.endswith("[extra]")}.isdisjoint(named)
    assert {_supplying._package(each) for each in pip} == named | {
        _supplying._package(each) for names in theirs for each in names
    }


@pytest.mark.parametrize(
    ("own", "supplied", "added"),
    [
        (["jax==0.10.2"], "jax[cuda12]>=0.8", "jax[cuda12]"),
        (["JAX"], "jax[k8s,cuda12]>=0.8", "jax[cuda12,k8s]"),
        (["jax @ https://host/jax-0.10.2-py3-none-any.whl"], "jax[cuda12]", "jax[cuda12]"),
        (["jax"], "jax[cuda12]==0.10.2", "jax[cuda12]==0.10.2"),
        (["jax>=0.8"], "jax[cuda12]>=0.8 ; python_version > '3'", 'jax[cuda12] ; python_version > "3"'),
        (["jax[cuda13]==0.10.2"], "jax[cuda12]>=0.8", None),  # else it would have both
        (["jax", "jax[tpu]"], "jax[cuda12]>=0.8", None),
        (["jax==0.10.2"], "jax>=0.8", None),
    ],
)
def test_a_version_that_the_image_names_gets_the_extras_that_the_nodes_devices_need(
    own: list[str], supplied: str, added: str | None
) -> None:
    image = merged(sky.Image(pip=own), Supplies(pip=[supplied]))
    assert image.pip == (*own, *([] if added is None else [added]))


def test_a_bare_url_names_no_package() -> None:
    image = merged(sky.Image(pip=["git+https://host/joblib.git"]), Supplies(pip=["joblib"]))
    assert image.pip == ("git+https://host/joblib.git", "joblib")


# what the client has


@pytest.mark.parametrize(
    ("requirement", "here"),
    [
        ("attrs", True),
        (f"attrs=={HAS}", True),
        (f"ATTRS<={HAS}", True),
        (f"attrs>{HAS}", False),
        ("attrs @ https://host/attrs.whl", False),
        ("git+https://host/attrs.git", False),
        ("no-such-package", False),
        ("no-such-package; python_version < '3'", True),
        ("skyward-core[rest]", True),
        ("skyward-core[no-such-extra]", True),  # what an extra is that a package does not have is nothing
        ("hypothesis[no-such-extra,pytz]", False),
    ],
)
def test_a_requirement_is_met_here_or_not(requirement: str, here: bool) -> None:
    assert is_here(requirement) == here


def options_of(*plugins: Any, **parameters: Any) -> Any:
    return asyncio.run(supplied(sky.ComputePool(plugins=plugins, display="quiet", **parameters)._pool_options))


def test_machines_in_the_clients_environment_install_nothing_that_it_has() -> None:
    giving = Giving(Supplies(pip=[f"attrs=={HAS}"], env={"A": "1"}, preload=["json"]))
    options = options_of(giving, giving)
    assert options.spec.image == sky.Image(pip=[f"attrs=={HAS}"], env={"A": "1"})
    assert options.image_here == sky.Image(env={"A": "1"})
    assert options.preload == ("json",)


@pytest.mark.parametrize(
    ("image", "pip"),
    [(sky.Image(pip=["six"]), ["attrs"]), (sky.Image(), ["attrs", "no-such-package"]), (sky.Image(), [f"attrs>{HAS}"])],
)
def test_they_get_an_environment_that_has_all_when_the_clients_does_not_do(image: sky.Image, pip: list[str]) -> None:
    options = options_of(Giving(Supplies(pip=pip)), image=image)
    assert options.image_here is None
    assert options.spec.image.pip == (*image.pip, *pip)


def test_a_local_pool_with_supplies_that_are_here_runs_in_the_clients_environment() -> None:
    import sys

    @sky.compute
    def look() -> tuple[str, str | None]:
        import os

        return sys.executable, os.environ.get("SUPPLIED")

    giving = Giving(Supplies(pip=["attrs"], env={"SUPPLIED": "yes"}))
    with sky.ComputePool(plugins=[giving], display="quiet") as pool:
        assert look() >> pool == (sys.executable, "yes")


# on the road


def test_integrations_are_asked_once_for_a_pool_and_providers_see_what_they_supply() -> None:
    giving = Giving(Supplies(pip=["no-such-package"], preload=["json"]))

    async def there_and_back() -> None:
        provider = FakeProvider()
        journey = Journey(provider, nodes=2, plugins=[giving], image=sky.Image(pip=["six"]))
        await journey.there_and_back()
        assert [spec.image.pip for spec in giving.asked] == [("six",)]
        assert provider.called("offers")[0].image.pip == ("six", "no-such-package")
        assert provider.called("launch")[0].spec.image.pip == ("six", "no-such-package")

    run(there_and_back())


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (
            sky.ConfigurationError("the image asks for joblib 9; leave it out"),
            sky.ConfigurationError,
            "^the image asks",
        ),
        (
            LookupError("gone"),
            sky.PluginError,
            "supplies of the integration acme failed with LookupError: gone; report that to its authors",
        ),
        (SystemExit(3), sky.PluginError, "acme failed with SystemExit: 3"),
        ({"pip": []}, sky.PluginError, r"acme returned \{'pip': \[\]\}, which is no Supplies; report"),
    ],
)
def test_an_integration_that_refuses_or_fails_ends_the_pool_before_anything_is_asked_or_bought(
    answer: object, error: type[Exception], says: str
) -> None:
    async def there_and_back() -> None:
        provider = FakeProvider()
        with pytest.raises(error, match=says):
            await Journey(provider, plugins=[Giving(answer)]).road.provision()
        assert provider.calls == []

    run(there_and_back())


def test_an_integration_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    class Silent(Giving):
        def supplies(self, spec: ComputeSpec) -> Supplies:
            threading.Event().wait()
            return Supplies()

    monkeypatch.setattr(_hooks, "LIMIT", 0.01)
    with pytest.raises(sky.PluginError, match=r"the integration acme has not returned after 0\.01 s; report"):
        options_of(Silent())


@pytest.mark.parametrize(("nodes", "capable", "refused"), [(2, False, True), (2, True, False), (1, False, False)])
def test_nodes_that_cannot_reach_each_other_are_refused_where_they_must(
    *, nodes: int, capable: bool, refused: bool
) -> None:
    giving = Giving(Supplies(private_network=True))

    async def there_and_back() -> None:
        lonely = FakeProvider("Lonely", capabilities=Capabilities(private_network=capable))
        journey = Journey(FakeProvider(), lonely, nodes=nodes, plugins=[giving])
        if not refused:
            return await journey.there_and_back()
        with pytest.raises(sky.ConfigurationError) as caught:
            await journey.road.provision()
        assert str(caught.value) == (
            "acme needs nodes that reach each other, and those of Lonely do not as it is set up: use nodes=1, or a "
            "provider whose nodes have a private network"
        )
        assert lonely.calls == []

    run(there_and_back())


@pytest.mark.parametrize(
    ("groups", "refused"), [(("a", "b"), True), ((None, "a", None, "b"), True), (("a", "a"), False)]
)
def test_integrations_that_form_different_groups_are_refused_before_anybody_is_asked(
    groups: tuple[str | None, ...], *, refused: bool
) -> None:
    async def there_and_back() -> None:
        provider = FakeProvider()
        journey = Journey(provider, plugins=[Giving(Supplies(group=group)) for group in groups])
        if not refused:
            return await journey.there_and_back()
        with pytest.raises(sky.ConfigurationError, match=r"acme and acme in plugins=.* leave one of the two out"):
            await journey.road.provision()
        assert provider.calls == []

    run(there_and_back())


def test_integrations_that_supply_nothing_leave_the_request_as_it_is() -> None:
    pool = sky.ComputePool(plugins=[sky.compute], display="quiet")
    assert asyncio.run(supplied(pool._pool_options)) is pool._pool_options


# names


def test_an_integration_is_called_by_its_name_or_that_of_what_it_is() -> None:
    def plain(function: Any) -> Any:
        return function

    titles: Sequence[str] = [title_of(Giving(name="sklearn")), title_of(Giving(name="")), title_of(plain)]
    assert titles[:2] == ["sklearn", "Giving"]
    assert titles[2].endswith("plain")
    assert isinstance(Giving(), Supplying)
    assert not isinstance(plain, Supplying)
