"""Plugins that are missing, broken, clashing, shadowing or turned off: each costs its own names, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from plugin_fakes import Install, integrations, providers

import skyward as sky
from skyward import _plugins
from skyward.errors import PluginError, PluginNotInstalled

# found


def test_what_an_installed_plugin_brings_is_a_name_of_skyward(install: Install) -> None:
    install("acme-cloud", providers("AcmeForTests"))
    install("acme-ml", integrations("acme_ml_for_tests"))
    assert sky.AcmeForTests() == "acmefortests"  # type: ignore[attr-defined]
    assert sky.integrations.acme_ml_for_tests() == "acme_ml_for_tests"  # type: ignore[attr-defined]
    assert "AcmeForTests" in dir(sky)
    assert "acme_ml_for_tests" in dir(sky.integrations)
    assert "compute" in dir(sky)
    del sky.AcmeForTests, sky.integrations.acme_ml_for_tests  # type: ignore[attr-defined]


def test_cores_own_provider_comes_through_the_same_hook(install: Install) -> None:
    assert _plugins.provider("Local") is sky.Local
    assert _plugins.provider_names() == ["Local"]
    assert _plugins.integration_names() == []


def test_of_a_distribution_that_is_found_twice_the_first_one_counts(install: Install, tmp_path: Path) -> None:
    behind = tmp_path / "behind"
    behind.mkdir()
    install("acme-cloud", providers("Older"), version="1.0", folder=behind)
    install("Acme.Cloud", providers("Newer"), version="2.0")
    sys.path.append(str(behind))
    try:
        assert _plugins.provider_names() == ["Local", "Newer"]
    finally:
        sys.path.remove(str(behind))


# missing


@pytest.mark.parametrize(("name", "distribution"), sorted(_plugins.FIRST_PARTY.items()))
def test_a_known_provider_that_is_not_installed_says_what_to_install(
    install: Install, name: str, distribution: str
) -> None:
    with pytest.raises(PluginNotInstalled) as caught:
        getattr(sky, name)
    assert str(caught.value) == (
        f"sky.{name} is provided by {distribution}, which is not installed: pip install {distribution}"
    )
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize(("name", "distribution"), sorted(_plugins.FIRST_PARTY_INTEGRATIONS.items()))
def test_a_known_integration_that_is_not_installed_says_what_to_install(
    install: Install, name: str, distribution: str
) -> None:
    with pytest.raises(
        PluginNotInstalled, match=f"sky.integrations.{name} is provided by {distribution}, which is not"
    ):
        getattr(sky.integrations, name)


def test_importing_a_missing_provider_by_name_says_the_same(install: Install) -> None:
    with pytest.raises(ImportError, match=r"sky\.RunPod is provided by skyward-runpod, which is not installed: pip"):
        from skyward import RunPod  # noqa: F401


def test_a_known_name_that_an_installed_version_lacks_asks_for_an_upgrade(install: Install) -> None:
    install("skyward-aws", providers("SomethingElse"), version="0.0.1")
    with pytest.raises(
        PluginError, match=r"0\.0\.1 is installed, and that does not have it: pip install --upgrade sky"
    ):
        _ = sky.AWS


# unknown


@pytest.mark.parametrize(
    ("name", "near"), [("aws", "'AWS'"), ("ComputPool", "'ComputePool'"), ("Locl", "'Local'"), ("Acmee", "'Acme'")]
)
def test_a_misspelt_name_is_refused_with_the_near_matches(install: Install, name: str, near: str) -> None:
    install("acme-cloud", providers("Acme"))
    with pytest.raises(AttributeError) as caught:
        getattr(sky, name)
    assert f"sky.{name} does not exist: did you mean " in str(caught.value)
    assert near in str(caught.value)


def test_a_name_like_no_other_is_refused_with_what_is_installed(install: Install) -> None:
    install("acme-cloud", providers("Acme"))
    with pytest.raises(AttributeError, match=r"sky\.Zyzzyx does not exist; installed plugins provide Acme, Local"):
        _ = sky.Zyzzyx  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"integrations\.zyzzyx does not exist; installed plugins provide nothi"):
        _ = sky.integrations.zyzzyx  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="did you mean 'torch'"):
        _ = sky.integrations.Torch  # type: ignore[attr-defined]


# broken


HOOK = "from skyward.spi import *\n@hookimpl\ndef skyward_providers():\n"

BROKEN = {
    "import": ("raise RuntimeError('no such driver')", "RuntimeError: no such driver"),
    "needs a package": ("import package_that_nobody_has", "ModuleNotFoundError: No module named"),
    "wrong arguments": (
        "from skyward.spi import hookimpl\n@hookimpl\ndef skyward_providers(configuration): return []",
        "configuration",
    ),
    "misspelt hook": (
        "from skyward.spi import hookimpl\n@hookimpl\ndef skyward_provider(): return []",
        "there is no hook 'skyward_provider': did you mean 'skyward_providers'?",
    ),
    "raising hook": (HOOK + "    return 1 / 0", "division"),
    "no list": (HOOK + "    return None", "TypeError"),
    "no descriptors": (
        HOOK + "    return ['Acme']",
        "skyward_providers must give ProviderDescriptor objects, not 'Acme'",
    ),
    "no name": (
        HOOK + "    return [ProviderDescriptor(name='_A', settings=1)]",
        "the name '_A', which sky.<name> cannot have",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_named_with_its_version_and_cause_when_its_name_is_used(install: Install, how: str) -> None:
    code, said = BROKEN[how]
    install("skyward-runpod", code, version="0.7.1")
    with pytest.raises(PluginError) as caught:
        _ = sky.RunPod
    message = str(caught.value)
    assert "sky.RunPod is provided by skyward-runpod: the plugin skyward-runpod 0.7.1 cannot be used" in message
    assert said in message
    assert "SKYWARD_DISABLE_PLUGINS=skyward-runpod" in message
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value, PluginNotInstalled)


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_does_not_break_the_names_of_others(
    install: Install, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    install("acme-broken", BROKEN[how][0])
    install("acme-cloud", providers("Acme"))
    assert _plugins.provider("Acme")() == "acme"
    assert _plugins.provider_names() == ["Acme", "Local"]
    assert "the plugin acme-broken 1.2.3 cannot be used" in caplog.text
    # Whose name this is nobody can know: the broken plugin might have brought it.
    with pytest.raises(AttributeError, match=r"the plugin acme-broken 1\.2\.3 cannot be used") as caught:
        _plugins.provider("Zyzzyx")
    assert isinstance(caught.value.__cause__, PluginError)


def test_a_plugin_whose_second_hook_fails_brings_nothing(install: Install) -> None:
    install("acme-half", providers("Half") + "    @hookimpl\n    def skyward_integrations():\n        return 1 / 0\n")
    assert _plugins.provider_names() == ["Local"]


def test_metadata_that_an_interrupted_installation_left_behind_is_passed_over(install: Install, tmp_path: Path) -> None:
    install("acme-cloud", providers("Acme"))
    wreck = tmp_path / "wreck-1.0.dist-info"
    wreck.mkdir()
    (wreck / "entry_points.txt").write_text("[skyward]\nmain = wreck\n")
    assert _plugins.provider_names() == ["Acme", "Local"]


# clashing and shadowing


def test_a_name_that_two_plugins_claim_is_an_error_that_names_both_and_concerns_no_other_name(install: Install) -> None:
    install("acme-one", providers("Cloud", "One"))
    install("acme-two", providers("Cloud", "Two"), version="4.5")
    with pytest.raises(PluginError) as caught:
        _plugins.provider("Cloud")
    assert "acme-one 1.2.3" in str(caught.value)
    assert "acme-two 4.5" in str(caught.value)
    assert "both provide sky.Cloud: uninstall one, or set SKYWARD_DISABLE_PLUGINS=acme-" in str(caught.value)
    assert _plugins.provider("One")() == "one"
    assert _plugins.provider("Two")() == "two"


@pytest.mark.parametrize("name", ["compute", "ComputePool", "Local", "integrations", "testing"])
def test_a_plugin_cannot_shadow_a_name_of_core(install: Install, name: str, caplog: pytest.LogCaptureFixture) -> None:
    install("acme-cloud", providers(name, "Acme"))
    ours = getattr(sky, name)
    assert _plugins.provider("Acme")() == "acme"
    assert getattr(sky, name) is ours
    assert getattr(ours, "__module__", None) != "builtins"
    if name == "Local":
        assert _plugins.provider("Local") is sky.Local
    assert f"acme-cloud 1.2.3 provides sky.{name}, which is a name of skyward itself: it is left out" in caplog.text


def test_an_integration_may_have_the_name_of_something_else_of_core(install: Install) -> None:
    install("acme-ml", integrations("pool"))
    assert _plugins.integration("pool")() == "pool"


# turned off


@pytest.mark.parametrize("value", ["1", "true", "ALL", "acme-cloud", "other,Acme_Cloud", " acme.cloud , x"])
def test_plugins_can_be_turned_off(install: Install, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme-cloud", providers("Acme"))
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", value)
    assert _plugins.provider_names() == ["Local"]


@pytest.mark.parametrize("value", ["", "0", "acme-clouds"])
def test_plugins_stay_on_unless_they_are_named(install: Install, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme-cloud", providers("Acme"))
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", value)
    assert _plugins.provider_names() == ["Acme", "Local"]


@pytest.mark.parametrize(
    ("value", "warned"),
    [
        (
            "acme-clouds",
            "SKYWARD_DISABLE_PLUGINS names acme-clouds, which is not installed: did you mean 'acme-cloud'?",
        ),
        ("aws", "SKYWARD_DISABLE_PLUGINS names aws, which is not installed: did you mean 'skyward-aws'?"),
        ("Acme.Cloud,skyward-verda,theirs", ""),
        ("1", ""),
    ],
)
def test_who_is_misspelt_where_plugins_are_turned_off_is_told_and_who_is_not_installed_is_not(
    install: Install, value: str, warned: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install("acme-cloud", providers("Acme"))
    install("skyward-aws", providers("AWS"))
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", value)
    _plugins.provider_names()
    assert caplog.messages == [warned][: bool(warned)]


def test_a_known_name_that_is_turned_off_says_so(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("skyward-aws", providers("AWS"))
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", "skyward-aws")
    with pytest.raises(PluginNotInstalled, match="skyward-aws, which SKYWARD_DISABLE_PLUGINS turns off"):
        _ = sky.AWS


# when


def in_a_new_interpreter(code: str, folder: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    environ.pop("SKYWARD_DISABLE_PLUGINS", None)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def test_discovery_runs_at_the_first_plugin_name_once_and_never_before(install: Install, tmp_path: Path) -> None:
    install("acme-cloud", "print('found')\n" + textwrap.dedent(providers("Acme", "Bcme")))
    code = """
        import sys
        import skyward as sky
        sky.compute, sky.Image, sky.ComputePool, sky.Local, sky.integrations, sky.accelerators.T4(), sky.UsageError
        for private in ("__path__x", "_Acme"):
            assert not hasattr(sky, private) and not hasattr(sky.integrations, private)
        assert "pluggy" not in sys.modules, "pluggy is imported without need"
        print("so far nothing")
        sky.Acme, sky.Bcme, sky.Acme, dir(sky), dir(sky.integrations), hasattr(sky, "Zyzzyx")
    """
    assert in_a_new_interpreter(code, tmp_path).split("\n") == ["so far nothing", "found", ""]
