"""The events of a pool's life, and who gets them."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest

import skyward as sky

LIFE = [
    sky.InfraCreating,
    sky.ClusterProvisioned,
    sky.InstanceLaunching,
    sky.InstanceLaunched,
    sky.InstanceRunning,
    sky.InstanceProvisioned,
    sky.BootstrapStarting,
    sky.BootstrapPhase,
    sky.InstanceBootstrapped,
    sky.NodeReady,
    sky.ClusterReady,
    sky.TaskStarted,
    sky.LogLine,
    sky.TaskCompleted,
    sky.PoolStopping,
    sky.InstanceStopping,
    sky.CostFinal,
    sky.ClusterDestroyed,
]
OF_A_MACHINE = (sky.BootstrapStarting, sky.BootstrapPhase, sky.InstanceBootstrapped)


def test_the_events_of_one_machine_come_in_the_order_of_its_life(provider: Any, recorder: Any) -> None:
    @sky.compute
    def speak() -> None:
        print("hello")

    with sky.ComputePool(provider, display="quiet", on_event=recorder, collect_metrics=False) as pool:
        speak() >> pool
    kinds = [type(event) for event in recorder.events if not isinstance(event, sky.CostUpdate)]
    in_order = [kind for kind, _ in itertools.groupby(kinds)]
    assert in_order == [kind for kind in LIFE if kind in kinds]
    assert set(LIFE) - set(kinds) <= {sky.BootstrapPhase}  # a machine that is ready as it is has no phases


def test_each_machine_has_its_events_in_order_and_the_pool_is_ready_after_all(provider: Any, recorder: Any) -> None:
    with sky.ComputePool(provider, nodes=3, display="quiet", on_event=recorder, collect_metrics=False):
        pass
    (ready,) = recorder.of(sky.ClusterReady)
    assert ready.nodes == 3
    launched = {event.node: event.instance_id for event in recorder.of(sky.InstanceLaunched)}
    assert sorted(launched) == [0, 1, 2]
    for node, name in launched.items():
        own = [event for event in recorder.events if getattr(event, "instance_id", None) == name]
        kinds = [type(event) for event in own if not isinstance(event, sky.BootstrapPhase)]
        expected = [kind for kind in LIFE if kind in kinds]
        assert kinds == expected
        assert {event.node for event in own if hasattr(event, "node")} == {node}
        assert max(map(recorder.events.index, own[:-1])) < recorder.events.index(ready)
    assert isinstance(recorder.events[-1], sky.ClusterDestroyed)


def test_a_tasks_events_name_it_and_say_where_it_ran_and_how_it_ended(
    pool: sky.ComputePool, listen: Any, double: Any, fail: Any
) -> None:
    seen = listen(pool)
    double(1) >> pool
    with pytest.raises(ValueError):
        fail("so it goes") >> pool
    fine, broken = seen.of(sky.TaskCompleted)
    assert (fine.name, fine.succeeded, fine.error) == ("double", True, None)
    assert (broken.name, broken.succeeded, broken.error) == ("fail", False, "ValueError: so it goes")
    assert fine.seconds >= 0
    for started, ended in zip(seen.of(sky.TaskStarted), (fine, broken), strict=True):
        for field in ("task_id", "name", "node", "slot", "instance_id"):
            assert getattr(started, field) == getattr(ended, field)
    assert fine.task_id != broken.task_id


def test_every_task_of_a_batch_starts_once_and_ends_once(pool: sky.ComputePool, listen: Any, double: Any) -> None:
    seen = listen(pool)
    sky.gather(*(double(number) for number in range(300))) >> pool
    started = [event.task_id for event in seen.of(sky.TaskStarted)]
    ended = [event.task_id for event in seen.of(sky.TaskCompleted)]
    assert len(started) == len(ended) == 300
    assert set(started) == set(ended)
    assert len(set(started)) == 300


def test_on_gives_the_events_of_a_class_as_a_decorator_and_as_a_call(provider: Any, double: Any) -> None:
    pool = sky.ComputePool(provider, display="quiet")
    ready: list[Any] = []
    ends: list[Any] = []
    several: list[Any] = []

    @pool.on(sky.NodeReady)
    def note(event: sky.NodeReady) -> None:
        ready.append(event)

    assert callable(note)
    unsubscribe = pool.on(sky.TaskCompleted, ends.append)
    pool.on((sky.PoolStopping, sky.ClusterDestroyed), several.append)
    with pool:
        double(1) >> pool
        unsubscribe()
        double(2) >> pool
    assert [event.node for event in ready] == [0]
    assert len(ends) == 1
    assert [type(event) for event in several] == [sky.PoolStopping, sky.ClusterDestroyed]


def test_on_refuses_what_is_no_event_class(provider: Any) -> None:
    pool = sky.ComputePool(provider)
    with pytest.raises(sky.ConfigurationError, match="is not an event class"):
        pool.on(int, print)  # type: ignore[type-var]
    with pytest.raises(sky.ConfigurationError, match="must be callable"):
        pool.on(sky.NodeReady, 3)  # type: ignore[call-overload]


def test_use_callback_around_a_pool_gets_all_its_events(provider: Any, recorder: Any, double: Any) -> None:
    with sky.use_callback(recorder), sky.ComputePool(provider, display="quiet") as pool:
        double(1) >> pool
    kinds = {type(event) for event in recorder.events}
    assert {sky.InfraCreating, sky.TaskCompleted, sky.ClusterDestroyed} <= kinds


def test_use_callback_inside_a_pool_gets_what_happens_in_its_block(provider: Any, recorder: Any, double: Any) -> None:
    with sky.ComputePool(provider, display="quiet", collect_metrics=False) as pool:
        double(1) >> pool
        with sky.use_callback(recorder):
            double(2) >> pool
        double(3) >> pool
    assert [type(event) for event in recorder.events] == [sky.TaskStarted, sky.TaskCompleted]


def test_an_event_emitted_in_a_task_reaches_the_clients_callbacks(provider: Any, recorder: Any, listen: Any) -> None:
    @sky.compute
    def report() -> str:
        import time

        info = sky.instance_info()
        sky.emit(sky.LogLine(info.node, "mine", "half way", time.time()))
        return "done"

    other = type(recorder)()
    with sky.use_callback(other), sky.ComputePool(provider, display="quiet", on_event=recorder) as pool:
        assert report() >> pool == "done"
        for seen in (recorder, other, recorder):
            (line,) = seen.of(sky.LogLine)
            assert (line.line, line.instance_id, line.node) == ("half way", "mine", 0)


def test_an_event_emitted_in_a_task_arrives_while_it_runs(roomy: sky.ComputePool, listen: Any, gate: Any) -> None:
    @sky.compute
    def report() -> None:
        sky.emit(sky.Error("not yet over", None))
        gate.wait()

    @sky.compute
    def release() -> None:
        gate.open()

    seen = listen(roomy)
    running = roomy.submit(report())
    seen.wait(lambda event: isinstance(event, sky.Error) and event.message == "not yet over")
    assert not running.done()
    release() >> roomy
    running.result()


def test_emit_in_a_task_refuses_what_is_no_event(pool: sky.ComputePool) -> None:
    @sky.compute
    def report() -> None:
        sky.emit("half way")  # type: ignore[arg-type]

    with pytest.raises(sky.ConfigurationError, match="emit\\(\\) takes an event"):
        report() >> pool


def test_nodes_measure_themselves(provider: Any, recorder: Any) -> None:
    with sky.ComputePool(provider, nodes=2, display="quiet", on_event=recorder):
        for node in (0, 1):
            found = recorder.wait(lambda event, node=node: isinstance(event, sky.Metrics) and event.node == node)
            assert 0 <= found.cpu_percent <= 100
            assert 0 < found.memory_percent < 100
            assert 0 < found.memory_used_mb < found.memory_total_mb


def test_without_collect_metrics_nobody_measures(provider: Any, recorder: Any) -> None:
    with sky.ComputePool(provider, display="quiet", on_event=recorder, collect_metrics=False) as pool:
        assert pool._options.collect_metrics is False
    assert recorder.of(sky.Metrics) == []


def test_a_callback_that_raises_breaks_nothing_and_is_named_once(
    provider: Any, double: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(event: Any) -> None:
        raise RuntimeError("in the callback")

    with sky.ComputePool(provider, display="quiet", on_event=faulty) as pool:
        assert sky.gather(*(double(number) for number in range(20))) >> pool == tuple(range(0, 40, 2))
    first, last = [record for record in caplog.records if "faulty" in record.getMessage()]
    assert first.levelno == logging.ERROR
    assert "raised for a InfraCreating" in first.getMessage()
    assert "more times" in last.getMessage()


def test_a_callback_that_blocks_delays_no_task(provider: Any, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from skyward import _events

    monkeypatch.setattr(_events, "PATIENCE", 0.01)
    release = threading.Event()
    names: list[str] = []

    def slow(event: Any) -> None:
        release.wait(60)
        names.append(type(event).__name__)

    with sky.ComputePool(provider, display="quiet", on_event=slow) as pool:
        assert double(1) >> pool == 2
        assert sky.gather(*(double(number) for number in range(10))) >> pool == tuple(range(0, 20, 2))
        assert names == []
        release.set()
    assert names[-1] == "ClusterDestroyed"
    assert names.count("TaskCompleted") == 11


def test_a_callback_may_dispatch_to_its_own_pool(provider: Any, double: Any) -> None:
    import threading

    results: list[int] = []
    enough = threading.Event()

    with sky.ComputePool(provider, display="quiet") as pool:

        @pool.on(sky.TaskCompleted)
        def again(event: sky.TaskCompleted) -> None:
            if len(results) < 3:
                results.append(double(len(results)) >> pool)
            else:
                enough.set()

        double(10) >> pool
        assert enough.wait(60)
    assert results == [0, 2, 4]


def test_an_async_callback_is_refused_before_anything_is_bought(provider: Any) -> None:
    async def on_event(event: Any) -> None: ...

    with pytest.raises(sky.ConfigurationError, match="async"):
        sky.ComputePool(provider, on_event=on_event)  # type: ignore[arg-type]


LOG = """
    import skyward as sky

    @sky.compute
    def hello():
        print("from the node")
        return "Hello"

    with sky.ComputePool(PROVIDER) as pool:
        print(hello() >> pool)
"""


def test_the_log_display_prints_a_line_per_event_and_nothing_on_stdout(script: Any, provider: Any) -> None:
    done = script(LOG)
    assert done.stdout == "Hello\n"
    lines = done.stderr.splitlines()
    expected = [
        "[ClusterProvisioned] Cluster ready in ",
        "[InstanceLaunched] Launching instance ",
        "[InstanceRunning] Instance running (",
        "[InstanceProvisioned] Instance provisioned, starting bootstrap",
        "[InstanceBootstrapped] Bootstrap complete",
        "[NodeReady] Node 0 ready",
        "[ClusterReady] Cluster ready with 1 node(s)",
        "[LogLine] node 0: from the node",
        "[TaskCompleted] Task completed in ",
        "[ClusterDestroyed] Cluster terminated",
    ]
    places = [next(place for place, line in enumerate(lines) if line.startswith(start)) for start in expected]
    assert places == sorted(places)
    assert places[-1] == len(lines) - 1


def test_a_program_that_sets_up_logging_gets_the_lines_through_it(script: Any) -> None:
    source = LOG.replace(
        "import skyward",
        "import logging\n    logging.basicConfig(format='LOG %(message)s', level=20)\n    import skyward",
    )
    lines = script(source).stderr.splitlines()
    assert "LOG [NodeReady] Node 0 ready" in lines
    assert all(line.startswith("LOG ") for line in lines)


@pytest.mark.parametrize("display", ["quiet", "spinner"])
def test_the_other_displays_leave_stdout_alone(script: Any, display: str) -> None:
    done = script(LOG.replace("PROVIDER)", f"PROVIDER, display='{display}')"))
    assert done.stdout == "Hello\n"
    if display == "quiet":
        assert done.stderr == ""
    else:
        assert "from the node" in done.stderr
