"""The locks of cache entries: one builder, many users, and nothing removed under either."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from skyward import _cache
from skyward.errors import ConfigurationError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    entry = tmp_path / "old"
    entry.mkdir()
    os.utime(entry, (0, 0))
    return entry


def test_an_old_entry_that_nobody_uses_is_removed_with_its_locks(old: Path, tmp_path: Path) -> None:
    _cache.prune(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_old_entry_that_is_being_built_is_kept(old: Path, tmp_path: Path) -> None:
    async def prune_while_building() -> None:
        async with _cache.building(old):
            _cache.prune(tmp_path)

    asyncio.run(prune_while_building())
    assert old.exists()
    _cache.prune(tmp_path)
    assert not old.exists()


def test_an_old_entry_in_use_is_kept(old: Path, tmp_path: Path) -> None:
    asyncio.run(_cache.hold(old))
    asyncio.run(_cache.hold(old))
    _cache.prune(tmp_path)
    assert old.exists()


def test_an_entry_that_was_used_while_the_locks_were_taken_is_kept(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter((False, True))
    monkeypatch.setattr(_cache, "is_fresh", lambda _entry: next(answers))
    _cache.prune(tmp_path)
    assert old.exists()


def test_a_user_waits_while_the_entry_is_being_removed(tmp_path: Path) -> None:
    entry = tmp_path / "entry"

    async def wait() -> None:
        with (tmp_path / "entry.use").open("w") as pruner:
            fcntl.flock(pruner, fcntl.LOCK_EX)
            holding = asyncio.create_task(_cache.hold(entry))
            done, _ = await asyncio.wait([holding], timeout=0.1)
            assert not done
        await holding

    asyncio.run(wait())


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = tmp_path / "entry"
    lock = tmp_path / "entry.lock"
    real = fcntl.flock
    removed: list[Path] = []

    def flock(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        if not removed:
            lock.unlink()
            removed.append(lock)

    monkeypatch.setattr(fcntl, "flock", flock)

    async def build() -> None:
        async with _cache.building(entry):
            assert lock.exists()

    asyncio.run(build())
    assert removed


def test_a_cache_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="set XDG_CACHE_HOME"):
        _cache.cache_folder("envs")


def test_a_relative_cache_home_is_ignored_as_its_specification_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _cache.cache_folder("envs") == tmp_path / ".cache" / "skyward" / "envs"
