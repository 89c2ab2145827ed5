"""The hooks by which plugins change and observe pools: when, in which order, and what a mistake in one costs."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from plugin_fakes import Install
from road_fakes import FakeProvider, Journey, run

import skyward as sky
import skyward.testing._session
from skyward import _events, _hooks, _plugins
from skyward._hooks import Hook, Hooks
from skyward._local_transport import LocalTransport
from skyward.errors import PluginError
from skyward.model.instance import Instance, InstanceState
from skyward.spi import Step

MACHINE = Instance(id="i-1", state=InstanceState.RUNNING)


def image_hook(function: Callable[..., object], plugin: str = "acme 1.2", takes: tuple[str, ...] = ("image",)) -> Hook:
    return Hook("skyward_image", plugin, function, takes)


def step_hook(function: Callable[..., object], plugin: str = "acme 1.2") -> Hook:
    return Hook("skyward_bootstrap_steps", plugin, function, ("instance",))


def prepared(*hooks: Hook) -> sky.ComputeSpec:
    spec = sky.ComputeSpec(nodes=1, image=sky.Image(pip=["six"]))
    return asyncio.run(Hooks(images=hooks).prepared(spec))


def extra_steps(*hooks: Hook) -> tuple[Step, ...]:
    return asyncio.run(Hooks(steps=hooks).extra_steps(sky.Image(), MACHINE))


def with_pip(*names: str) -> Callable[[sky.Image], sky.Image]:
    return lambda image: evolve(image, pip=(*image.pip, *names))


# the image


def test_each_plugin_gets_the_image_that_the_one_before_it_left() -> None:
    seen = []

    def look(image: sky.Image, spec: sky.ComputeSpec) -> None:
        seen.append((image.pip, spec.image.pip))

    spec = prepared(image_hook(with_pip("one")), image_hook(look, takes=("image", "spec")), image_hook(with_pip("two")))
    assert spec.image.pip == ("six", "one", "two")
    assert seen == [(("six", "one"), ("six", "one"))]


def test_a_plugin_that_returns_none_leaves_the_image_as_it_is() -> None:
    assert prepared(image_hook(lambda image: None)).image == sky.Image(pip=["six"])


def test_the_image_hook_runs_on_a_thread_of_its_own() -> None:
    threads: list[threading.Thread] = []
    prepared(image_hook(lambda image: threads.append(threading.current_thread())))
    assert threads[0] is not threading.main_thread()
    assert threads[0].daemon, "one that never returns must not hold up the end of the program"


def fail(*_: object) -> object:
    raise LookupError("no such agent")


def no_answer(*_: object) -> object:
    threading.Event().wait()
    raise AssertionError("unreachable")


MISTAKES: dict[str, tuple[Callable[..., object], str]] = {
    "raises": (fail, "failed with LookupError: no such agent"),
    "exits": (lambda image: exit("enough"), "failed with SystemExit: enough"),
    "returns something else": (
        lambda image: "python:3.13",
        "returned 'python:3.13', which is neither an Image nor None",
    ),
    "returns an image that cannot be used": (
        lambda image: evolve(image, python="3.99"),
        "returned an image that cannot be used: the image asks for Python 3.99",
    ),
    "raises an error of skyward's": (
        lambda image: sky.Image(pip="numpy"),
        "failed with ConfigurationError: pip must be a list",
    ),
}


@pytest.mark.parametrize("how", MISTAKES)
def test_a_mistake_in_an_image_hook_is_the_plugins_named_with_its_version(how: str) -> None:
    function, said = MISTAKES[how]
    with pytest.raises(PluginError) as caught:
        prepared(image_hook(function))
    assert f"skyward_image of acme 1.2 {said}" in str(caught.value)
    assert "this is a bug of acme 1.2: report it there, or set SKYWARD_DISABLE_PLUGINS=acme" in str(caught.value)


@pytest.mark.parametrize("ask", [lambda: prepared(image_hook(no_answer)), lambda: extra_steps(step_hook(no_answer))])
def test_a_hook_that_does_not_return_is_named(ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hooks, "LIMIT", 0.01)
    with pytest.raises(PluginError, match=r"skyward_\w+ of acme 1\.2 has not returned after 0\.01 s"):
        ask()


def test_the_image_is_asked_for_once_before_any_provider_and_is_what_they_see() -> None:
    async def there_and_back() -> None:
        asked = []
        provider = FakeProvider()
        journey = Journey(provider, nodes=2)

        def change(image: sky.Image) -> sky.Image:
            asked.append(list(provider.calls))
            return with_pip("added")(image)

        journey.road._hooks = Hooks(images=(image_hook(change),))
        await journey.there_and_back()
        assert asked == [[]], "once, and nothing had been asked by then"
        assert provider.called("offers")[0].image.pip == ("added",)
        assert provider.called("launch")[0].spec.image.pip == ("added",)

    run(there_and_back())


def test_a_failing_image_hook_ends_the_pool_before_anything_is_asked_or_bought() -> None:
    async def there_and_back() -> None:
        provider = FakeProvider()
        journey = Journey(provider)
        journey.road._hooks = Hooks(images=(image_hook(fail),))
        with pytest.raises(PluginError, match=r"skyward_image of acme 1\.2 failed with LookupError"):
            await journey.road.provision()
        assert provider.calls == []

    run(there_and_back())


# steps


def test_the_steps_of_all_plugins_are_gathered_in_order_and_bear_their_origin() -> None:
    def generate(instance: Instance) -> Any:
        yield Step("drivers", f"echo {instance.id}")
        yield Step("agent", "true")

    found = extra_steps(
        step_hook(generate), step_hook(lambda instance: None), step_hook(lambda instance: [Step("last", "true")], "b 2")
    )
    assert [(step.name, step.body, step.origin) for step in found] == [
        ("drivers", "echo i-1", "acme 1.2"),
        ("agent", "true", "acme 1.2"),
        ("last", "true", "b 2"),
    ]


def fail_late(instance: Instance) -> Any:
    yield Step("drivers", "true")
    raise LookupError("no such agent")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (fail, "failed with LookupError: no such agent"),
        (fail_late, "failed with LookupError: no such agent"),
        (lambda instance: ["apt-get update"], "returned 'apt-get update', which is no Step"),
        (lambda instance: 3, "failed with TypeError"),
        (lambda instance: [Step("No Name", "")], "failed with ConfigurationError: a step's name is made of"),
    ],
)
def test_a_mistake_in_a_steps_hook_is_the_plugins(function: Callable[..., object], said: str) -> None:
    with pytest.raises(PluginError) as caught:
        extra_steps(step_hook(function))
    assert f"skyward_bootstrap_steps of acme 1.2 {said}" in str(caught.value)


def test_steps_are_asked_for_each_machine_when_it_runs_and_handed_to_its_bootstrap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    async def there_and_back() -> None:
        provider = FakeProvider(boot=60.0)
        journey = Journey(provider, nodes=2)

        def steps(instance: Instance) -> list[Step]:
            assert instance.state is InstanceState.RUNNING
            assert instance.id not in [machine for machine, _ in given]
            return [Step("drivers", f"echo {instance.id}")]

        journey.road._hooks = Hooks(steps=(step_hook(steps),))
        await journey.there_and_back()

    transport = skyward.testing._session.FakeTransport
    bootstrap = transport.bootstrap

    async def note(self: Any, image: Any, report: Any, steps: Any = (), /) -> Any:
        given.append((self._id, [step.body for step in steps]))
        return await bootstrap(self, image, report, steps)

    monkeypatch.setattr(transport, "bootstrap", note)
    run(there_and_back())
    assert sorted(given) == [("i-0", ["echo i-0"]), ("i-1", ["echo i-1"])]


def test_failing_steps_end_the_pool_and_whatever_was_bought() -> None:
    async def there_and_back() -> None:
        provider = FakeProvider()
        journey = Journey(provider, nodes=2)
        journey.road._hooks = Hooks(steps=(step_hook(fail),))
        with pytest.raises(PluginError, match=r"skyward_bootstrap_steps of acme 1\.2 failed"):
            await journey.road.provision()
        assert provider.called("launch")
        assert journey.alive == []

    run(there_and_back())


def test_a_local_node_runs_no_steps_and_says_so_once_for_each_pool(caplog: pytest.LogCaptureFixture) -> None:
    class Wire: ...

    def report(*_: object) -> None: ...

    async def bootstrap(wire: Any) -> None:
        transport = LocalTransport(None, b"", wire, None)  # type: ignore[arg-type]
        await transport.bootstrap(sky.Image(), report, [Step("drivers", "reboot", origin="acme 1.2")])

    caplog.set_level(logging.INFO, "skyward")
    wire = Wire()
    asyncio.run(bootstrap(wire))
    asyncio.run(bootstrap(wire))
    said = "bootstrap steps are not run, because local nodes are processes of this machine: 'drivers' of acme 1.2"
    assert caplog.messages == [said]


# what installed plugins bring

CHANGE = """
from attrs import evolve
from skyward.spi import hookimpl
@hookimpl{mark}
def skyward_image(image):
    return evolve(image, env={{**image.env, "ORDER": image.env.get("ORDER", "") + "{letter}"}})
"""


def test_plugins_take_turns_by_their_names_and_those_marked_first_and_last_go_first_and_last(install: Install) -> None:
    for name, mark in {
        "d-first": "(tryfirst=True)",
        "b": "",
        "a-last": "(trylast=True)",
        "c": "",
        "e-first": "(tryfirst=True)",
        "e-last": "(trylast=True)",
    }.items():
        install(name, CHANGE.format(mark=mark, letter=f"{name} "))
    image = asyncio.run(_plugins.hooks().prepared(sky.ComputeSpec(nodes=1, image=sky.Image()))).image
    assert image.env["ORDER"].split() == ["d-first", "e-first", "b", "c", "a-last", "e-last"]


@pytest.mark.parametrize("wrong", ["def skyward_image(picture): ...", "def skyward_picture(image): ..."])
def test_a_plugin_that_is_refused_has_no_hook_left_behind(install: Install, wrong: str) -> None:
    good = ["def skyward_bootstrap_steps(): ...", "def skyward_on_event(event): ..."]
    install("acme-half", "from skyward.spi import hookimpl\n" + "".join(f"@hookimpl\n{it}\n" for it in [*good, wrong]))
    assert _plugins.hooks() == Hooks()


def test_without_plugins_a_pool_has_no_hooks_and_loads_nothing_to_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _plugins.forget()
    monkeypatch.setattr(_plugins, "may_find", lambda: False)
    assert _plugins.hooks() == Hooks()
    assert not _plugins._made
    code = """if True:
        import sys
        import skyward as sky
        with sky.ComputePool(display="quiet"):
            pass
        print(*(name for name in ("pluggy", "skyward._plugins_registry") if name in sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


OBSERVE = """
from skyward.spi import hookimpl
seen = []
@hookimpl
def skyward_on_event(event):
    seen.append(event)
    {then}
"""


def seen_by(plugin: str) -> list[Any]:
    [hook] = [hook for hook in _plugins.hooks().observers if hook.plugin.startswith(plugin)]
    found: list[Any] = hook.function.__globals__["seen"]
    return found


@sky.compute
def square(x: int) -> int:
    return x * x


def test_an_observer_sees_every_event_of_every_pool(install: Install) -> None:
    install("acme-watch", OBSERVE.format(then=""))
    ours: list[Any] = []
    with sky.ComputePool(display="quiet", on_event=ours.append) as pool:
        assert square(3) >> pool == 9
    first = list(seen_by("acme-watch"))
    assert [type(event) for event in first] == [type(event) for event in ours]
    assert isinstance(first[0], sky.InfraCreating)
    assert isinstance(first[-1], sky.ClusterDestroyed)
    with sky.ComputePool(display="quiet"):
        pass
    assert sum(isinstance(event, sky.ClusterDestroyed) for event in seen_by("acme-watch")) == 2


def test_an_observer_that_raises_is_logged_once_by_name_and_hurts_nobody(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("acme-bad", OBSERVE.format(then="raise LookupError('no such table')"))
    install("acme-good", OBSERVE.format(then=""))
    with sky.ComputePool(display="quiet") as pool:
        assert square(3) >> pool == 9
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert failures[0].getMessage() == (
        "the callback skyward_on_event of acme-bad 1.2.3 raised for a InfraCreating; further failures of it are only "
        "counted"
    )
    assert "no such table" in str(failures[0].exc_info)
    assert [record.getMessage() for record in failures[1:]] == [
        f"the callback skyward_on_event of acme-bad 1.2.3 raised {len(seen_by('acme-bad')) - 1} more times"
    ]
    assert len(seen_by("acme-good")) == len(seen_by("acme-bad"))


def test_an_observer_that_does_not_return_delays_no_task_and_is_named_at_the_end(
    install: Install, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-slow", OBSERVE.format(then="gate.wait()") + "import threading\ngate = threading.Event()\n")
    gate = _plugins.hooks().observers[0].function.__globals__["gate"]
    pool = sky.ComputePool(display="quiet")
    close = pool.events.close
    monkeypatch.setattr(pool.events, "close", lambda: close(0.01))
    monkeypatch.setattr(_events, "PATIENCE", 0.01)
    try:
        with pool:
            assert square(3) >> pool == 9
            monkeypatch.setattr(_events, "PATIENCE", 3600.0)
            assert square(4) >> pool == 16, "that a call waited for it was once, and not again"
    finally:
        gate.set()
    assert "the callback skyward_on_event of acme-slow 1.2.3 has not returned after 0.01 s" in caplog.text


def test_a_pool_applies_the_image_that_a_plugin_makes(install: Install) -> None:
    install("acme-env", CHANGE.format(mark="", letter="x"))

    @sky.compute
    def order() -> str:
        import os

        return os.environ["ORDER"]

    with sky.ComputePool(display="quiet") as pool:
        assert order() >> pool == "x"


def test_a_plugin_that_takes_long_to_load_is_named_with_the_seconds(
    install: Install, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyward import _plugins_registry

    now = [0.0]
    monkeypatch.setattr(_plugins_registry, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    monkeypatch.setattr("builtins.advance", lambda seconds: now.__setitem__(0, now[0] + seconds), raising=False)
    install("acme-slow", "advance(2.5)\n")
    install("acme-fast", "advance(0.5)\n")
    _plugins.hooks()
    assert [message for message in caplog.messages if "took" in message] == [
        "the plugin acme-slow 1.2.3 took 2.5 s to load: its module should import what takes long when a pool is entered"
    ]
