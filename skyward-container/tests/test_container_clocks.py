"""Nodes whose clock is wrong by weeks: nothing that a pool does depends on it."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import skyward as sky

DAY = 24 * 3600


@pytest.fixture(scope="session")
def with_faketime(base: str, podman: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base with libfaketime, which tells programs another time; made once and kept by its recipe."""
    made_of = podman("image", "inspect", "--format", "{{.Id}}", base)
    recipe = f"FROM {base}\nRUN apt-get -q update && apt-get -q install -y --no-install-recommends libfaketime\n"
    tag = f"localhost/skyward-test-clock:{hashlib.sha256((made_of + recipe).encode()).hexdigest()[:16]}"
    if subprocess.run(("podman", "image", "exists", tag)).returncode:
        folder = tmp_path_factory.mktemp("faketime")
        (folder / "Containerfile").write_text(recipe)
        build = ("podman", "build", "--quiet", "--pull-never", "--tag", tag, str(folder))
        done = subprocess.run(build, capture_output=True, text=True)
        assert not done.returncode, done.stderr
    return tag


@pytest.mark.parametrize("days", [40, -40])
def test_a_node_whose_clock_is_wrong_serves_and_keeps_to_its_limits(
    pool: Any, flaky: Any, story: Any, tmp_path: Path, with_faketime: str, podman: Any, days: int
) -> None:
    library = podman(
        "run", "--rm", "--entrypoint", "sh", with_faketime, "-c", "ls /usr/lib/*/faketime/libfaketime.so.1"
    )
    (tmp_path / "preload").write_text(library)
    (tmp_path / "faketimerc").write_text(f"{days:+}d\n")
    wrong = evolve(
        flaky("""
            if [ "$1 $2" = "run --detach" ]; then
                shift
                set -- run -v "$folder/preload:/etc/ld.so.preload:ro" -v "$folder/faketimerc:/etc/faketimerc:ro" "$@"
            fi
        """),
        image=with_faketime,
    )

    @sky.compute
    def tell(seconds: float) -> tuple[float, float]:
        import time

        begun = time.time()
        for number in range(10):
            print("line", number)
        time.sleep(seconds)
        return begun, sky.instance_info().node

    @sky.compute
    def too_long() -> None:
        import time

        time.sleep(1000)

    with pool(provider=wrong, lease=4, timeout=600, on_event=story) as running:
        moment, node = tell(6) >> running  # longer than the lease
        assert abs(moment - time.time() - days * DAY) < 1000
        assert node == 0
        running.extend(2)
        with pytest.raises(sky.PoolTimeout, match="timeout="):
            too_long() >> running

    lines = [event.line for event in story.of(sky.LogLine) if event.line.startswith("line")]
    assert lines == [f"line {number}" for number in range(10)]
    kinds = [type(event) for event in story.events if type(event) in (sky.TaskStarted, sky.LogLine, sky.TaskCompleted)]
    assert kinds[:12] == [sky.TaskStarted, *10 * [sky.LogLine], sky.TaskCompleted]
    assert 6 <= story.of(sky.TaskCompleted)[0].seconds < 600
    phases = [event.seconds for event in story.of(sky.BootstrapPhase) if event.seconds is not None]
    assert phases
    assert all(0 <= seconds < 600 for seconds in phases)
    assert not story.of(sky.InstancePreempted)[1:], "but for the one that came to its end"
