"""What a node gets of the client's own installation: skyward, the active plugins, and what importing them needs.

A node runs exactly the client's ``skyward``, be it an edited checkout, and no index is asked for it. The files come
in two folders. ``front`` goes before everything else on the node's ``sys.path``: skyward and the plugins. ``back`` goes
behind everything else: the packages that they need, so that whatever the image pins of these wins.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import importlib.util
import io
import marshal
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from attrs import frozen

from skyward._cache import building, cache_folder, hold, is_fresh, prune, scratch_folder
from skyward.errors import ConfigurationError

__all__ = ["NEEDED", "Payload", "archive", "digest", "stage"]

NEEDED = ("attrs", "cloudpickle", "pluggy", "tenacity")
"""The distributions that ``import skyward`` and its names need, all pure Python. psutil is compiled and comes from the
index; rich serves the client's display only."""

_AT_START = ("front/skyward/__init__.py", "front/skyward/worker/", "back/cloudpickle/")
"""What a supervisor imports before anybody can talk to it. Compiling it would take a new machine longer than that."""

_COMPILED = {".so", ".pyd", ".dylib", ".dll"}
# What of a distribution's metadata is read at run time: its version and its entry points.
_METADATA = {"METADATA", "entry_points.txt"}

type _Files = dict[str, bytes]


@frozen
class Payload:
    """The two folders of a staged payload, and the digest that names their content."""

    front: Path
    back: Path
    digest: str


def _package_files(name: str) -> Iterator[tuple[str, Path]]:
    """The files of an importable package or module, by their paths from the folder that holds it."""
    spec = importlib.util.find_spec(name)
    if spec is not None and not spec.submodule_search_locations and spec.has_location and spec.origin is not None:
        yield Path(spec.origin).name, Path(spec.origin)
        return
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the package {name} cannot be found to be sent to the nodes: reinstall it")
    for location in map(Path, spec.submodule_search_locations):
        for path in location.rglob("*"):
            if "__pycache__" not in path.parts and path.suffix != ".pyc" and path.is_file():
                yield f"{name}/{path.relative_to(location).as_posix()}", path


def _metadata_files(distribution: Distribution) -> Iterator[tuple[str, bytes]]:
    folder = f"{distribution.name.replace('-', '_')}-{distribution.version}.dist-info"
    for name in sorted(_METADATA):
        text = distribution.read_text(name)
        if text is not None:
            yield f"{folder}/{name}", text.encode()


def _distribution(name: str) -> Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigurationError(f"{name}, which skyward needs, is not installed: reinstall skyward-core") from None


def _distribution_files(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    """The code of an installed distribution, by its paths from ``site-packages``."""
    for file in distribution.files or ():
        inside = ".." not in file.parts and not file.parts[0].endswith((".dist-info", ".pth"))
        if inside and "__pycache__" not in file.parts:
            yield file.as_posix(), Path(str(distribution.locate_file(file)))


def _front(plugins: Sequence[str]) -> _Files:
    found: _Files = {}
    for package in ("skyward", *plugins):
        found |= {name: path.read_bytes() for name, path in _package_files(package)}
    found |= dict(_metadata_files(_distribution("skyward-core")))
    for entry_point in importlib.metadata.entry_points(group="skyward"):
        if entry_point.dist is not None and entry_point.module.partition(".")[0] in plugins:
            found |= dict(_metadata_files(entry_point.dist))
    return found


def _back() -> _Files:
    found: _Files = {}
    for name in NEEDED:
        distribution = _distribution(name)
        code = {name: path.read_bytes() for name, path in _distribution_files(distribution)}
        if not code:
            raise ConfigurationError(f"the files of {name} are not listed by its installation: reinstall it with pip")
        found |= code | dict(_metadata_files(distribution))
    return found


def _collect(plugins: Sequence[str]) -> _Files:
    """Every file of the payload by its path, in the order of the paths."""
    found = {f"front/{name}": content for name, content in _front(plugins).items()}
    found |= {f"back/{name}": content for name, content in _back().items()}
    compiled = [name for name in found if PurePosixPath(name).suffix in _COMPILED]
    if compiled:
        raise ConfigurationError(
            f"{compiled[0]} is compiled for this machine and cannot be sent to nodes of other kinds: install the pure"
            " Python release of its package on the client (pip install --no-binary), or turn the plugin off that it"
            " belongs to, with SKYWARD_DISABLE_PLUGINS"
        )
    return dict(sorted(found.items()))


def digest(plugins: Sequence[str] = ()) -> str:
    """Names the content of the payload: the same in every process, another one after any edit."""
    return _digest(_collect(plugins))


def _digest(files: _Files) -> str:
    state = hashlib.blake2b(digest_size=12)
    for name, content in files.items():
        state.update(f"{name}\0{len(content)}\0".encode())
        state.update(content)
    return state.hexdigest()


async def stage(plugins: Sequence[str] = ()) -> Payload:
    """The payload as two folders of the cache, for nodes on this machine. ``plugins`` are names of import packages.

    Files of one content are written once, at a stroke. Raises ``ConfigurationError`` when a package is missing or
    holds compiled files.
    """
    files = _collect(plugins)
    name = _digest(files)
    entry = cache_folder("payloads") / name
    await hold(entry)
    async with building(entry):
        if not is_fresh(entry):
            prune(entry.parent)
        _write(entry, files)
    return Payload(entry / "front", entry / "back", name)


def _write(entry: Path, files: _Files) -> None:
    if entry.exists():
        entry.touch()
        return
    folder = scratch_folder(entry.parent, "new-")
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        folder.rename(entry)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bytecode(name: str, source: bytes) -> _Files:
    """What Python looks for beside a module: its bytecode. A node with another version of Python does not look at it.

    It is marked as what needs no comparison with the source, since the two never part.
    """
    path = PurePosixPath(name)
    code = compile(source, path.name, "exec", dont_inherit=True, optimize=0)
    try:
        # The later formats depend on what else this process holds; of one source there must be one archive.
        packed = marshal.dumps(code, 2)
    except ValueError:  # a constant that this format does not know
        return {}
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    return {f"{path.parent}/__pycache__/{path.stem}.{sys.implementation.cache_tag}.pyc": header + packed}


def archive(plugins: Sequence[str] = ()) -> bytes:
    """The payload as a ``.tar.gz`` for nodes elsewhere: ``front/...`` and ``back/...``, the same bytes every time.

    What the worker is made of goes compiled, too.
    """
    files = _collect(plugins)
    for name, content in list(files.items()):
        if name.startswith(_AT_START) and name.endswith(".py"):
            files |= _bytecode(name, content)
    packed = io.BytesIO()
    with (
        # The highest level takes ten times as long, for a tenth less.
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=3) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
