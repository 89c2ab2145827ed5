"""Images of nodes that another one has taken the place of: found by their label, and removed when nobody uses them.

An image bears what it was made for: its base, by name, and its Python. When that is made anew, because skyward's recipe
or the base has changed, the one before is of no use, unless another version of skyward on this machine still makes its
nodes of it. So each use is noted, in the time of change of a file in the user's cache, and an image goes that nobody
has used for `KEEP_DAYS` days. An engine refuses by itself to remove what a container is made from.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

from skyward import Transient
from skyward_container._engine import Engine

__all__ = ["KEEP_DAYS", "LABEL", "REPOSITORY", "note_use", "prune", "purpose"]

_log = logging.getLogger("skyward.container")

REPOSITORY = "localhost/skyward-node"
"""The name of all images of nodes; their tags are the hashes of what they were made of."""

LABEL = "skyward.node-image"

KEEP_DAYS = 7


def purpose(base: str, python: str) -> str:
    """What an image is made for, as its label has it."""
    return f"{base} python {python}"


def note_use(folder: Path, tag: str, engine: Engine) -> None:
    """Remember that an image is used now."""
    with contextlib.suppress(OSError):
        _note(folder, tag, engine).touch()


def _note(folder: Path, tag: str, engine: Engine) -> Path:
    # Two engines have different images.
    return folder / f"{tag.rpartition(':')[2]}-{engine.name}"


async def prune(engine: Engine, folder: Path, base: str, python: str, made: str) -> None:
    """Remove what an image that has just been made takes the place of. What fails is left to the next time.

    Args:
        engine: whose images.
        folder: where uses are noted.
        base: what the new image is made of, by the name that the user knows.
        python: the version of its Python.
        made: its tag.
    """
    with contextlib.suppress(Transient):
        label = f"label={LABEL}={purpose(base, python)}"
        told = await engine.get("images", "--filter", label, "--format", "{{.Repository}}:{{.Tag}}")
        for tag in told.split():
            if not tag.startswith(f"{REPOSITORY}:") or tag == made or not _is_forgotten(_note(folder, tag, engine)):
                continue
            answer = await engine.ask("rmi", tag, whole=True)
            if answer.status:
                _log.debug("the image %s stays: %s", tag, answer.words)
            else:
                _log.info("removed the image %s, which %s has taken the place of", tag, made)
                _note(folder, tag, engine).unlink(missing_ok=True)


def _is_forgotten(note: Path) -> bool:
    """Whether nobody has used an image for long. One whose use was never noted counts from now on."""
    try:
        return time.time() - note.stat().st_mtime > KEEP_DAYS * 86400
    except OSError:
        with contextlib.suppress(OSError):
            note.touch()
        return False
