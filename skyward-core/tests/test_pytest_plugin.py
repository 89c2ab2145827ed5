"""The pytest plugin, as users' own test runs meet it: each is a run of its own on a little project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import skyward as sky

@sky.compute
def double(x):
    print("doubling", x)
    return 2 * x

@sky.compute
def where():
    import os
    return os.getppid(), os.getcwd()

@sky.compute
def forever():
    import time
    time.sleep(1000)

def main():
    return double(21) >> sky
"""

IMPORTS = """
import os, signal, pytest
import skyward as sky
import script
from skyward import _events
_events.PATIENCE = 60.0  # what a call has printed is there when it returns, however busy the machine is
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run pytest on a project of a script and tests, in a process of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path))
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)

    def run(tests: str, *arguments: str, ini: str = "", imports: str = IMPORTS, **files: str) -> pytest.RunResult:
        pytester.makepyfile(script=SCRIPT, **files)
        pytester.makeini(f"[pytest]\nfilterwarnings = error\naddopts = --strict-markers -p no:cacheprovider\n{ini}\n")
        pytester.makepyfile(imports + tests)
        return pytester.runpytest_subprocess(*arguments)

    return run


def test_one_pool_of_two_nodes_serves_all_tests_and_is_current_in_those_that_ask_for_it(run: Any) -> None:
    result = run("""
seen = set()

def test_one(skyward_pool):
    assert script.main() == 42
    nodes = script.where() @ skyward_pool
    assert len(nodes) == 2
    seen.update(nodes)

def test_two(skyward_pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert set(script.where() @ sky) == seen

def test_without():
    with pytest.raises(sky.UsageError, match="no pool is current"):
        script.main()

class TestMethods:
    def test_three(self, skyward_pool):
        assert set(script.where() @ sky) == seen
""")
    result.assert_outcomes(passed=4)


def test_the_nodes_work_in_the_folder_in_which_pytest_was_started(run: Any, pytester: pytest.Pytester) -> None:
    result = run(f"""
@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

def test_one(skyward_pool):
    assert (script.where() >> skyward_pool)[1] == {str(pytester.path)!r}
""")
    result.assert_outcomes(passed=1)


def test_the_pool_lives_by_the_systems_clock_although_a_fake_cloud_is_there(run: Any) -> None:
    result = run("""
def test_one(skyward_cloud, skyward_pool):
    from skyward import _clock
    assert _clock.current() is skyward_cloud.clock
    assert skyward_pool._engine._clock is _clock.SYSTEM
""")
    result.assert_outcomes(passed=1)


def test_what_tasks_print_is_captured_as_the_tests_own(run: Any) -> None:
    result = run("""
def test_seen(skyward_pool, capsys):
    script.double(2) >> skyward_pool
    assert capsys.readouterr().out == "doubling 2\\n"

def test_shown(skyward_pool):
    assert script.double(3) >> skyward_pool == 7
""")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Captured stdout call*", "doubling 3"])


def test_a_pool_that_a_test_broke_is_replaced_for_the_next_one(run: Any) -> None:
    result = run("""
used = []

@pytest.fixture(autouse=True)
def nodes(skyward_pool):
    pids = {pid for pid, _ in script.where() @ skyward_pool}
    assert len(pids) == 2
    used.append(pids)
    return pids

def test_a_node_is_killed(nodes):
    os.kill(next(iter(nodes)), signal.SIGKILL)

def test_a_task_is_left_running(skyward_pool):
    assert not used[0] & used[1]
    skyward_pool.submit(script.forever())

def test_the_pool_is_ended(skyward_pool):
    assert not used[1] & used[2]
    skyward_pool.__exit__(None, None, None)

def test_nothing_happens():
    assert not used[2] & used[3]

def test_it_is_the_same_again():
    assert used[3] == used[4]
""")
    result.assert_outcomes(passed=5)


def test_a_pool_that_has_replaced_a_lost_node_by_itself_is_replaced_all_the_same(run: Any) -> None:
    result = run("""
import threading

used = []

@pytest.fixture(autouse=True)
def nodes(skyward_pool):
    used.append({pid for pid, _ in script.where() @ skyward_pool})

def test_a_node_is_killed_and_replaced(skyward_pool):
    replaced = threading.Event()
    skyward_pool.on(sky.NodeReplaced, lambda event: replaced.set())
    os.kill(next(iter(used[0])), signal.SIGKILL)
    assert replaced.wait(60)

def test_the_next_one_has_new_nodes():
    assert not used[0] & used[1]
""")
    result.assert_outcomes(passed=2)


def test_the_pools_parameters_come_from_a_fixture_and_from_markers(run: Any) -> None:
    result = run(
        """
def test_fixture(skyward_pool):
    assert (skyward_pool.nodes, skyward_pool.concurrency) == (1, 2)

@pytest.mark.skyward_pool(nodes=3)
class TestMarked:
    def test_class(self, skyward_pool):
        assert (skyward_pool.nodes, skyward_pool.concurrency) == (3, 2)

    @pytest.mark.skyward_pool(concurrency=1)
    def test_both(self, skyward_pool):
        assert (skyward_pool.nodes, skyward_pool.concurrency) == (3, 1)

def test_fixture_again(skyward_pool):
    assert len(script.where() @ skyward_pool) == 1
""",
        conftest="""
import pytest

@pytest.fixture(scope="session")
def skyward_pool_options():
    return {"nodes": 1, "concurrency": 2}
""",
    )
    result.assert_outcomes(passed=4)


def test_a_wrong_parameter_is_told_in_a_line(run: Any) -> None:
    result = run("""
@pytest.mark.skyward_pool(node=3)
def test_misspelt(skyward_pool):
    pass

@pytest.mark.skyward_pool(3)
def test_without_a_name(skyward_pool):
    pass

class TestNothing:
    @pytest.fixture
    def skyward_pool_options(self):
        pass

    def test_nothing(self, skyward_pool):
        pass
""")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "the fixture skyward_pool cannot be made: a pool has no parameter 'node': did you mean 'nodes'*",
            "the marker skyward_pool has 3 without a name: write @pytest.mark.skyward_pool(parameter=value)",
            "the fixture skyward_pool_options gave None: return a dict such as {'nodes': 4}",
        ]
    )
    assert "During handling" not in result.stdout.str()
    assert "def check_options" not in result.stdout.str()


LEAKS = """
def test_clean():
    with sky.ComputePool(display="quiet") as pool:
        script.double(1) >> pool

def test_shared(skyward_pool):
    script.double(1) >> skyward_pool

def test_left():
    pool = sky.ComputePool(display="quiet").__enter__()
    print("machine", (script.where() >> pool)[0])

@pytest.fixture(scope="module")
def wider():
    with sky.ComputePool(display="quiet") as pool:
        yield pool

def test_wider(wider):
    script.double(1) >> wider

def test_by_another_program(tmp_path):
    import subprocess, sys
    (tmp_path / "x.py").write_text(
        "import os, skyward as sky\\n"
        "sky.ComputePool(display='quiet', lease=None).__enter__()\\n"
        "os.kill(os.getpid(), 9)\\n"
    )
    subprocess.run([sys.executable, "x.py"], cwd=tmp_path)

def test_nothing_is_left():
    import psutil
    from skyward import _local_processes
    def is_ours(pid):
        try:
            return psutil.Process(pid).environ().get("XDG_STATE_HOME") == os.environ["XDG_STATE_HOME"]
        except psutil.Error:  # one of another program's, which has just ended
            return False
    assert sum(is_ours(mark.pids[0]) for mark in _local_processes.find(None)) == 3  # two pools' nodes
"""


@pytest.mark.parametrize("how", ["ini", "usefixtures"])
def test_a_test_that_leaves_a_machine_or_a_pool_behind_fails_and_they_are_ended(how: str, run: Any) -> None:
    mark = 'pytestmark = pytest.mark.usefixtures("skyward_no_leaks")\n' if how == "usefixtures" else ""
    result = run(mark + LEAKS, ini="skyward_no_leaks = true" if how == "ini" else "")
    result.assert_outcomes(passed=6, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_left*",
            "left behind, and ended now:",
            "  - the pool ?????????? of 1 node(s) on Local, entered and not left; its machines: local-??????????-0-0",
            "leave the block of each pool*",
            "*ERROR at teardown of test_by_another_program*",
            "left behind, and ended now:",
            "  - the local node local-??????????-0-0: 2 process(es)",
        ]
    )


CLOUD = """
from skyward.testing import After

def test_tasks_run(skyward_cloud):
    with sky.ComputePool(skyward_cloud.provider, nodes=2, display="quiet") as pool:
        assert len(script.where() @ pool) == 2
        skyward_cloud.clock.advance(1800)
    assert [machine.why for machine in skyward_cloud.machines] == ["terminated", "terminated"]
    assert skyward_cloud.bill() > 0

def test_each_test_has_a_cloud_of_its_own(skyward_cloud):
    assert skyward_cloud.machines == []
    assert skyward_cloud.clock.monotonic() == 0

def test_faults(skyward_cloud):
    skyward_cloud.script("launch", sky.AuthenticationFailed("set FAKE_KEY"))
    with pytest.raises(sky.AuthenticationFailed, match="FAKE_KEY"):
        sky.ComputePool(skyward_cloud.provider, display="quiet").__enter__()

@pytest.mark.skyward_cloud(boot_seconds=300, name="Slow")
def test_marked(skyward_cloud):
    with sky.ComputePool(skyward_cloud.provider, display="quiet"):
        assert skyward_cloud.clock.monotonic() == 300
        assert skyward_cloud.name == "Slow"

@pytest.mark.skyward_cloud(boot_secs=300)
def test_misspelt(skyward_cloud):
    pass

def test_left(skyward_cloud):
    sky.ComputePool(skyward_cloud.provider, nodes=2, display="quiet").__enter__()
"""


@pytest.mark.parametrize("first", ["the guard", "the cloud"])
def test_a_fake_cloud_runs_tasks_has_faults_and_is_watched_by_the_guard(first: str, run: Any) -> None:
    source, ini = CLOUD, "skyward_no_leaks = true"
    if first == "the cloud":
        source, ini = CLOUD.replace("(skyward_cloud)", "(skyward_cloud, skyward_no_leaks)"), ""
    result = run(source, ini=ini)
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_misspelt*",
            "the fixture skyward_cloud cannot be made: *unexpected keyword argument 'boot_secs'*",
            "*ERROR at teardown of test_left*",
            "left behind, and ended now:",
            "  - the pool ?????????? of 2 node(s) on Fake, entered and not left; its machines: i-0, i-1",
        ]
    )


def test_without_being_asked_for_the_guard_is_not_there(run: Any) -> None:
    result = run("""
def test_left():
    sky.ComputePool(display="quiet").__enter__()
""")
    result.assert_outcomes(passed=1)


def test_plugins_are_turned_off_where_the_settings_say_so_and_the_environment_does_not(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = "def test_it(): assert os.environ.get('SKYWARD_DISABLE_PLUGINS') == EXPECTED\n"
    monkeypatch.delenv("SKYWARD_DISABLE_PLUGINS")
    run("EXPECTED = None\n" + tests).assert_outcomes(passed=1)
    run("EXPECTED = '1'\n" + tests, ini="skyward_disable_plugins = 1").assert_outcomes(passed=1)
    monkeypatch.setenv("SKYWARD_DISABLE_PLUGINS", "acme")
    run("EXPECTED = 'acme'\n" + tests, ini="skyward_disable_plugins = 1").assert_outcomes(passed=1)


def test_a_project_that_does_not_use_it_pays_for_the_plugin_module_alone(run: Any) -> None:
    result = run(
        """
import sys

def test_loaded():
    own = {name for name in sys.modules if name.partition(".")[0] == "skyward"}
    assert own == {"skyward", "skyward.testing", "skyward.testing._pytest"}
    assert not {"attr", "cloudpickle", "psutil", "rich"} & set(sys.modules)
""",
        *("-p", "no:hypothesispytest"),
        imports="",
    )
    result.assert_outcomes(passed=1)


def test_the_package_is_imported_without_pytest() -> None:
    program = "import sys, skyward.testing; [getattr(skyward.testing, name) for name in skyward.testing.__all__]; "
    program += (
        "assert 'pytest' not in sys.modules, 'pytest'; import skyward as sky; assert sky.testing is skyward.testing"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_fixtures_are_listed_with_what_they_are(run: Any, pytester: pytest.Pytester) -> None:
    result = run("", "--fixtures", "-v")
    for name in ("skyward_pool", "skyward_cloud", "skyward_no_leaks", "skyward_pool_options", "skyward_cloud_options"):
        result.stdout.re_match_lines([rf"{name}\b.*"])
    assert Path(pytester.path).is_dir()
