"""Selectors and allocations by name, and the list of what is installed: as with providers, each plugin costs its own
names only, and every error says whose they are.
"""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from plugin_fakes import Install, allocations, integrations, providers, selectors

import skyward as sky
from skyward import _plugins
from skyward.errors import ConfigurationError, PluginError
from skyward.model.allocation import ALLOCATIONS
from skyward.testing import FakeCloud


def chosen(**parameters: Any) -> Any:
    cloud = FakeCloud().provider  # it sells on spot, too
    return sky.ComputePool([cloud, cloud], display="quiet", **parameters)._pool_options


BRING = {"selection": selectors, "allocation": allocations}
LOOK_UP = {"selection": _plugins.selector, "allocation": _plugins.allocation}
LIST = {"selection": _plugins.selector_names, "allocation": _plugins.allocation_names}
OWN = {"selection": ["available", "cheapest", "first"], "allocation": sorted(ALLOCATIONS)}

both = pytest.mark.parametrize("parameter", ["selection", "allocation"])


# found


def test_a_pool_takes_the_name_of_a_plugins_selector(install: Install) -> None:
    install("acme-cloud", selectors("acme-last"))
    with sky.ComputePool([sky.Local(), sky.Local()], selection="acme-last", display="quiet") as pool:
        assert pool.instance_count == 1
    chooses = chosen(selection="acme-last").selection
    assert chooses.name == "acme-last"
    assert chooses.value((1, 2), None) == 2


def test_a_pool_takes_the_name_of_a_plugins_allocation(install: Install) -> None:
    install("acme-cloud", allocations("acme-whatever"))
    with sky.ComputePool(allocation="acme-whatever", display="quiet") as pool:
        assert pool.instance_count == 1
    assert chosen(allocation="acme-whatever").allocation.value.name == "whatever"


@both
def test_names_are_listed_with_cores_own(install: Install, parameter: str) -> None:
    install("acme-cloud", BRING[parameter]("acme.one", "acme-two", "Acme_3"))
    assert LIST[parameter]() == sorted([*OWN[parameter], "acme.one", "acme-two", "Acme_3"])


def test_cores_own_come_through_the_same_hooks(install: Install) -> None:
    from skyward import _builtins

    named = {each.name: each.select for each in _builtins.skyward_selectors()}
    assert named == {"first": sky.select_first, "cheapest": sky.select_cheapest, "available": sky.select_available}
    assert {each.name for each in _builtins.skyward_allocations()} == {
        *("spot-if-available", "spot", "always-spot", "on-demand", "cheapest")
    }
    assert _plugins.selector_names() == OWN["selection"]
    assert _plugins.allocation_names() == OWN["allocation"]


@both
def test_cores_own_names_are_found_without_any_plugin_being_loaded(install: Install, parameter: str) -> None:
    install("acme-cloud", "raise AssertionError('loaded')")
    for name in OWN[parameter]:
        assert LOOK_UP[parameter](name) is getattr(chosen(**{parameter: name}), parameter).value
    assert not _plugins._made


# unknown


@both
def test_a_misspelt_name_is_refused_with_the_near_matches(install: Install, parameter: str) -> None:
    install("acme-cloud", BRING[parameter]("acme-one"))
    with pytest.raises(ConfigurationError, match=f"^{parameter}='acme-oen' does not exist: did you mean 'acme-one'"):
        chosen(**{parameter: "acme-oen"})


@both
def test_a_name_like_no_other_is_refused_with_all_that_there_are(install: Install, parameter: str) -> None:
    install("acme-cloud", BRING[parameter]("acme-one"))
    with pytest.raises(ConfigurationError, match=f"{parameter}='zzz' does not exist; choose from ") as caught:
        chosen(**{parameter: "zzz"})
    assert all(name in str(caught.value) for name in ["acme-one", *OWN[parameter]])


@both
def test_an_unknown_name_might_be_that_of_a_plugin_that_is_broken_or_turned_off(
    install: Install, parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-broken", "raise RuntimeError('no such driver')")
    install("acme-off", BRING[parameter]("acme-one"), version="4.5")
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", "acme-off")
    with pytest.raises(ConfigurationError) as caught:
        chosen(**{parameter: "zzz"})
    assert "the plugin acme-broken 1.2.3 cannot be used: RuntimeError: no such driver" in str(caught.value)
    assert "SKYWARD_DISABLE_PLUGINS turns off acme-off 4.5" in str(caught.value)
    assert isinstance(caught.value.__cause__, PluginError)


def test_an_unknown_provider_might_be_that_of_a_plugin_that_is_turned_off(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-cloud", providers("Acme"))
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", "acme-cloud")
    with pytest.raises(AttributeError, match=r"SKYWARD_DISABLE_PLUGINS turns off acme-cloud 1\.2\.3"):
        _plugins.provider("Zyzzyx")


# clashing and shadowing, of every kind

KINDS: dict[str, tuple[Any, Any, str, str]] = {
    "provider": (providers, _plugins.provider, "Acme", "sky.Acme"),
    "integration": (integrations, _plugins.integration, "acme", "sky.integrations.acme"),
    "selector": (selectors, _plugins.selector, "acme-x", "selection='acme-x'"),
    "allocation": (allocations, _plugins.allocation, "acme-x", "allocation='acme-x'"),
}
every = pytest.mark.parametrize("kind", KINDS)


@every
def test_a_name_that_two_plugins_claim_is_an_error_that_names_both(install: Install, kind: str) -> None:
    bring, look_up, name, spelt = KINDS[kind]
    install("acme-one", bring(name, "One"))
    install("acme-two", bring(name), version="4.5")
    with pytest.raises(PluginError) as caught:
        look_up(name)
    assert str(caught.value) == (
        f"acme-one 1.2.3 and acme-two 4.5 both provide {spelt}: uninstall one, or set SKYWARD_DISABLE_PLUGINS=acme-two"
    )
    assert look_up("One")


def test_of_three_that_claim_a_name_all_are_named(install: Install) -> None:
    for name in ("acme-one", "acme-two", "acme-three"):
        install(name, selectors("x"))
    with pytest.raises(PluginError, match=r"acme-one 1\.2\.3, acme-three 1\.2\.3 and acme-two 1\.2\.3 all provide"):
        _plugins.selector("x")


@both
def test_a_plugin_cannot_shadow_a_strategy_of_core(
    install: Install, parameter: str, caplog: pytest.LogCaptureFixture
) -> None:
    install("acme-cloud", BRING[parameter]("cheapest", "acme-one"))
    ours = LOOK_UP[parameter]("cheapest")
    assert LOOK_UP[parameter]("acme-one")
    assert LOOK_UP[parameter]("cheapest") is ours
    assert "acme" not in type(ours).__module__
    said = f"acme-cloud 1.2.3 provides {parameter}='cheapest', which is a name of skyward itself: it is left out"
    assert said in caplog.text


# broken

HEAD = "from skyward.spi import *\nclass Strategy:\n    name = 'x'\n    def allocate(self, candidates, nodes): ...\n"
SELECT = HEAD + "@hookimpl\ndef skyward_selectors(): return [SelectorDescriptor(name={}, select={})]\n"
ALLOCATE = HEAD + "@hookimpl\ndef skyward_allocations(): return [AllocationDescriptor(name={}, strategy={})]\n"
LAMBDA = "lambda providers, spec: providers[0]"

BROKEN = {
    "a selector that cannot be called": (SELECT.format("'x'", 5), "skyward_selectors gives for 'x' 5, which is not a"),
    "a selector that is a class": (SELECT.format("'x'", "Strategy"), "is not a function of the providers and the"),
    "a selector that is async": (
        "async def late(providers, spec): ...\n" + SELECT.format("'x'", "late"),
        "is a coroutine function, which nothing awaits",
    ),
    "a selector with a space": (SELECT.format("'a b'", LAMBDA), "the name 'a b', which selection='<name>' cannot have"),
    "a selector with a number": (SELECT.format("'0.5'", LAMBDA), "the name '0.5', which selection='<name>' cannot"),
    "a selector without a name": (SELECT.format("None", LAMBDA), "skyward_selectors gives the name None"),
    "a strategy that is a class": (ALLOCATE.format("'x'", "Strategy"), "which is a class, not an object of it"),
    "a strategy that does nothing": (ALLOCATE.format("'x'", "object()"), "has no method allocate(candidates, nodes)"),
    "a strategy without a name": (
        "class Nameless:\n    def allocate(self, candidates, nodes): ...\n" + ALLOCATE.format("'x'", "Nameless()"),
        "which has no name",
    ),
    "a provider that cannot be called": (
        "from skyward.spi import *\n@hookimpl\ndef skyward_providers(): yield ProviderDescriptor(name='X', settings=3)",
        "skyward_providers gives for 'X' 3, which cannot be called",
    ),
    "a name twice": (
        HEAD + "@hookimpl\ndef skyward_allocations():\n    for _ in 'ab':\n"
        "        yield AllocationDescriptor(name='x', strategy=Strategy())\n",
        "skyward_allocations gives the name 'x' twice",
    ),
    "descriptors of another kind": (
        HEAD + "@hookimpl\ndef skyward_selectors():\n    yield AllocationDescriptor(name='x', strategy=Strategy())\n",
        "skyward_selectors must give SelectorDescriptor objects, not AllocationDescriptor",
    ),
    "an async hook": (
        "from skyward.spi import *\n@hookimpl\nasync def skyward_selectors(): return []\n",
        "skyward_selectors is async, and nothing awaits it",
    ),
    "a wrapper": (
        "from skyward.spi import *\n@hookimpl(wrapper=True)\ndef skyward_image(image):\n    return (yield)\n",
        "skyward_image is a wrapper, and hooks of skyward are plain functions",
    ),
    "an observer with yield": (
        "from skyward.spi import *\n@hookimpl\ndef skyward_on_event(event):\n    yield\n",
        "skyward_on_event is a generator, so that calling it does nothing",
    ),
    "a hook without its mark": (
        "def skyward_on_event(event): print(event)\n",
        "skyward_on_event is not marked: put @hookimpl on it",
    ),
    "a misspelt hook": (
        "from skyward.spi import *\n@hookimpl\ndef skyward_on_evnt(event): ...\n",
        "there is no hook 'skyward_on_evnt': did you mean 'skyward_on_event'?",
    ),
    "a hook like no other": (
        "from skyward.spi import *\n@hookimpl\ndef zzz(event): ...\n",
        "there is no hook 'zzz'; choose from skyward_allocations, skyward_bootstrap_steps, skyward_image",
    ),
    "an argument that the hook does not have": (
        "from skyward.spi import *\n@hookimpl\ndef skyward_image(picture): ...\n",
        "picture",
    ),
    "an end of the program": ("import sys\nsys.exit('no licence')", "SystemExit: no licence"),
    "asking for a plugin while it is loaded": (
        "import skyward as sky\nsky.AcmeOfAnother\n",
        "a plugin asks for the name of a plugin while plugins are being loaded: import from that plugin's own module",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_told_with_its_version_and_what_is_wrong_with_it(install: Install, how: str) -> None:
    code, said = BROKEN[how]
    install("acme-broken", code, version="0.7.1")
    install("acme-cloud", selectors("acme-one"))
    info = {each.distribution: each for each in sky.installed_plugins()}
    problem = info["acme-broken"].problem
    assert problem is not None
    assert said in problem
    with pytest.raises(ConfigurationError, match=r"the plugin acme-broken 0\.7\.1 cannot be used: .*DISABLE_PLUGINS="):
        _plugins.selector("zzz")
    assert info["acme-cloud"].problem is None
    assert _plugins.selector("acme-one")


def test_two_entry_points_of_one_distribution_are_refused(install: Install, tmp_path: Any) -> None:
    install("acme-cloud", selectors("acme-one"))
    [points] = tmp_path.glob("acme_cloud-*/entry_points.txt")
    points.write_text(points.read_text() + points.read_text().partition("\n")[2].replace("main", "other"))
    with pytest.raises(ConfigurationError, match="it has 2 entry points in the group 'skyward', not one"):
        _plugins.selector("acme-one")


# what is installed


def test_what_is_installed_is_listed_with_what_each_brings(install: Install) -> None:
    install("acme-ml", integrations("acme_b", "acme_a"), version="2.0")
    install(
        "Acme.Cloud",
        providers("Acme") + "@hookimpl\n    def skyward_on_event(event): ...\n    @hookimpl\n"
        "    def skyward_image(image): ...\n",
    )
    core, cloud, ml = sky.installed_plugins()
    assert core.distribution == "skyward-core"
    assert core.version == __import__("importlib.metadata").metadata.version("skyward-core")
    assert (core.providers, core.selectors, core.hooks) == (("Local",), ("available", "cheapest", "first"), ())
    assert core.allocations == tuple(sorted(ALLOCATIONS))
    assert cloud == sky.PluginInfo(
        distribution="acme-cloud",
        version="1.2.3",
        providers=("Acme",),
        hooks=("skyward_image", "skyward_on_event"),
    )
    assert ml == sky.PluginInfo(distribution="acme-ml", version="2.0", integrations=("acme_a", "acme_b"))
    assert str(cloud) == "acme-cloud 1.2.3: providers Acme; hooks skyward_image, skyward_on_event"
    assert pickle.loads(pickle.dumps(cloud)) == cloud


def test_what_is_installed_and_cannot_be_used_is_listed_with_the_reason(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-broken", "raise RuntimeError('no such driver')")
    install("acme-off", selectors("acme-off"))
    install("acme-one", selectors("acme-x", "first"))
    install("acme-two", selectors("acme-x"))
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", "acme-off")
    _, broken, off, one, two = sky.installed_plugins()
    assert broken.problem == "RuntimeError: no such driver"
    assert str(broken) == "acme-broken 1.2.3: PROBLEM: RuntimeError: no such driver"
    assert off.problem == "SKYWARD_DISABLE_PLUGINS turns it off"
    assert one.problem is not None
    assert two.problem is not None
    assert "which is a name of skyward itself" in one.problem
    assert "acme-one 1.2.3 and acme-two 1.2.3 both provide selection='acme-x'" in one.problem
    assert "acme-one 1.2.3 and acme-two 1.2.3 both provide selection='acme-x'" in two.problem
    assert not any(each.selectors for each in (broken, off, one, two))


def test_without_plugins_only_core_is_listed() -> None:
    assert [each.distribution for each in sky.installed_plugins() if each.problem is None] == ["skyward-core"]
