"""Images of nodes that are out of use are removed when their successor is made, and no others; with a real engine."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skyward import Image
from skyward.spi import cache_folder
from skyward_container import _image
from skyward_container._engine import Engine, find_engine
from skyward_container._image import node_image
from skyward_container._pruning import KEEP_DAYS, REPOSITORY, prune

type Podman = Callable[..., str]


class Images:
    """Makes images of nodes by recipes that do nothing, of bases whose names no other test has."""

    def __init__(self, base: str, patch: pytest.MonkeyPatch, podman: Podman) -> None:
        self.engine: Engine = asyncio.run(find_engine("podman"))
        self.bases = [f"localhost/skyward-test-base:{secrets.token_hex(6)}" for _ in range(2)]
        self.made: list[str] = []
        self._patch = patch
        self._podman = podman
        self._text = _image._text
        for name in self.bases:
            podman("tag", base, name)

    def make(self, recipe: str, python: str = "3.13", base: int = 0) -> str:
        """The tag of the image that a recipe of this name makes, or made."""
        text = f"# {recipe} of {self.bases[0]} for {base}"  # so that no image of it is there already
        self._patch.setattr(_image, "_text", lambda name: text if name == "recipe.sh" else self._text(name))
        # What the base lacks for another Python does not matter here.
        image = Image(python=python, allow_version_gap=True)
        self._patch.setattr(Image, "bootstrap", lambda self, **_: f"# Python {self.python}\n")
        tag = asyncio.run(node_image(self.engine, self.bases[base], image)).tag
        self.made.append(tag)
        return tag

    @property
    def there(self) -> set[str]:
        """Those that were made and are still there."""
        return {*self.made} & set(self._podman("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split())

    def forget(self, tag: str) -> None:
        """As if an image had not been used for long."""
        then = time.time() - (KEEP_DAYS + 1) * 86400
        os.utime(cache_folder("container") / f"{tag.rpartition(':')[2]}-{self.engine.name}", (then, then))

    def close(self) -> None:
        for tag in (*self.there, *self.bases):
            self._podman("rmi", tag)


@pytest.fixture
def images(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, podman: Podman) -> Iterator[Images]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where uses are noted
    made = Images(base, monkeypatch, podman)
    yield made
    made.close()


def test_what_nobody_has_used_for_long_goes_when_another_takes_its_place_and_nothing_else(
    images: Images, podman: Podman
) -> None:
    old, held, used = images.make("old"), images.make("held"), images.make("used")
    others = {images.make("old", base=1), images.make("old", python="3.12")}
    container = podman("create", "--network", "none", "--entrypoint", "true", held).strip()
    mine = images.bases[0].replace("base", "mine")
    podman("tag", old, mine)
    try:
        for tag in (old, held, used, *others):
            images.forget(tag)
        assert images.make("used") == used
        new = images.make("new")
        assert images.there == {held, used, new, *others}
        assert podman("images", "--quiet", mine)  # under the name that its user has given it
    finally:
        podman("rm", container)
        podman("rmi", mine)


def test_an_image_whose_use_nobody_has_noted_counts_from_now_on(images: Images) -> None:
    old = images.make("old")
    folder = cache_folder("container")
    for note in folder.iterdir():
        note.unlink()

    def tidy() -> set[str]:
        asyncio.run(prune(images.engine, folder, images.bases[0], "3.13", f"{REPOSITORY}:new"))
        return images.there

    assert tidy() == {old}
    images.forget(old)
    assert tidy() == set()
