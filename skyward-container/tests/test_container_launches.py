"""Engines that fail: while containers are started, and when they are to be ended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import skyward as sky

COUNT = 'n=0; while ! mkdir "$folder/$1$n" 2>/dev/null; do n=$((n + 1)); done'
"""Shell text that counts the calls of a command, from 0."""


def test_when_every_other_launch_fails_the_pool_has_what_it_asked_for(
    pool: Any, flaky: Any, left: Any, story: Any
) -> None:
    broken = flaky(f"""
        if [ "$1 $2" = "run --detach" ]; then {COUNT}; [ $((n % 2)) = 1 ] || {{ echo 'no space left' >&2; exit 1; }}; fi
    """)

    @sky.compute
    def node() -> int:
        return sky.instance_info().node

    with pool(provider=broken, nodes=2, on_event=story) as running:
        assert node() @ running == (0, 1)
        assert len(left()) == 3  # and the network
    assert len(story.of(sky.InstanceLaunched)) == 2
    assert not left()


def test_when_half_of_the_containers_cannot_be_had_it_says_how_many_and_why_and_none_is_left(
    pool: Any, flaky: Any, left: Any, podman: Any
) -> None:
    broken = flaky("""
        case "$1 $2 $*" in "run --detach "*" --name skyward-"*-[13]-????????" --user "*)
            echo 'no space left on device' >&2; exit 1;;
        esac
    """)
    with pytest.raises(sky.AllProvidersFailedError) as caught:
        pool(provider=broken, nodes=4).__enter__()
    assert "2 of 4 machine(s) could not be had" in str(caught.value)
    assert "no space left on device" in str(caught.value)
    assert not left()


def test_a_pool_of_which_no_container_starts_says_why(pool: Any, flaky: Any) -> None:
    broken = flaky("""if [ "$1 $2" = "run --detach" ]; then echo 'no space left on device' >&2; exit 1; fi""")
    with pytest.raises(sky.AllProvidersFailedError, match="no space left on device"):
        pool(provider=broken, nodes=2).__enter__()


FULL = {
    "its disk": (
        """
            for word; do [ "$before" != sh ] || image=$word; before=$word; done
            used=$(podman run --rm --pull never --network none --tmpfs /opt/skyward --entrypoint df "$image" \
                -k --output=used /opt/skyward | tail -n 1)
            set -- run --tmpfs "/opt/skyward:size=$((used + 100))k" "$@"
        """,
        # Both are sent at once.
        r"/(payload\.tar\.gz|certificates\.pem) could not be written",
    ),
    "its memory for files": (
        """
            for word; do shift; case $word in /run/skyward:*) word=$word,size=1m;; esac; set -- "$@" "$word"; done
            set -- run "$@"
        """,
        "`tar ",
    ),
}
"""What has little room, so that skyward's archive does not find any, and what is to be said of that."""


@pytest.mark.parametrize("which", FULL)
def test_a_disk_that_is_full_while_a_node_is_made_ready_is_named_with_what_was_done(
    pool: Any, flaky: Any, left: Any, which: str
) -> None:
    change, command = FULL[which]
    small = flaky(f'if [ "$1 $2" = "run --detach" ]; then shift; {change} fi')
    with pytest.raises(sky.BootstrapError, match="No space left on device") as caught:
        pool(provider=small).__enter__()
    assert caught.value.phase == "skyward"
    assert caught.value.command
    assert re.search(command, str(caught.value))
    assert not left()


def test_an_engine_that_is_away_for_a_moment_at_the_end_is_asked_again(pool: Any, flaky: Any) -> None:
    passing = flaky("""
        if [ -e "$folder/away" ] && [ "$1" = rm ]; then
            rm "$folder/away"; echo 'Cannot connect to the engine' >&2; exit 125
        fi
    """)
    with pool(provider=passing):
        Path(passing.binary).with_name("away").touch()
    assert not Path(passing.binary).with_name("away").exists()


def test_what_an_engine_that_was_gone_at_the_end_has_left_is_removed_by_the_next_pool(
    pool: Any, flaky: Any, left: Any, podman: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyward import _teardown

    monkeypatch.setattr(_teardown, "_PATIENCE", 2.0)
    broken = flaky("""if [ -e "$folder/away" ]; then echo 'Cannot connect to the engine' >&2; exit 125; fi""")
    away = Path(broken.binary).with_name("away")
    with (
        pytest.raises(sky.SkywardError, match="Cannot connect to the engine") as caught,
        pool(provider=broken),
    ):
        [name, *_] = [name for name in left() if name.count("-") > 2]
        podman("pause", name)  # so that it cannot end by itself
        away.touch()
    assert name in str(caught.value)
    assert name in left()
    away.unlink()
    with pool(provider=broken) as running:
        assert running.is_active
    assert not left()
