"""What a node gets of the client's installation, and which system packages a local node lacks."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import skyward
from skyward import _payload
from skyward._apt import missing_apt_packages
from skyward._payload import Payload, archive, digest, stage
from skyward.errors import ConfigurationError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "skyward" / "payloads"


@pytest.fixture
def staged(cache: Path) -> Payload:
    return asyncio.run(stage())


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed plugin package, ``skyward_example``, with its metadata."""
    site = tmp_path / "site"
    package = site / "skyward_example"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("WHO = 'example'\n")
    metadata = site / "skyward_example-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: skyward-example\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[skyward]\nexample = skyward_example\n")
    monkeypatch.syspath_prepend(str(site))
    return package


def bare_python(payload: Payload, code: str) -> str:
    """Run ``code`` with nothing on the path but the standard library and the payload."""
    code = f"import sys; sys.path[:0] = [{str(payload.front)!r}]; sys.path.append({str(payload.back)!r})\n{code}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_of_skyward_works_from_the_payload_alone(staged: Payload) -> None:
    code = (
        "import skyward\nfor name in getattr(skyward, '__all__', ()): getattr(skyward, name)\nprint(skyward.__file__)"
    )
    assert bare_python(staged, code) == str(staged.front / "skyward" / "__init__.py")


def test_the_worker_and_the_values_import_from_the_payload_alone(staged: Payload) -> None:
    code = (
        "import cloudpickle, attrs, pluggy, skyward.worker, skyward.errors\n"
        "from skyward.model.image import Image\nprint(Image(pip=['six']).content_hash())"
    )
    assert len(bare_python(staged, code)) == 12


def test_the_node_can_ask_for_versions_and_entry_points(staged: Payload) -> None:
    code = "from importlib.metadata import version; print(version('skyward-core'), version('attrs'))"
    from importlib.metadata import version

    assert bare_python(staged, code) == f"{version('skyward-core')} {version('attrs')}"


def test_the_payload_holds_no_bytecode_and_nothing_compiled(staged: Payload) -> None:
    files = [path for folder in (staged.front, staged.back) for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if path.suffix in {".pyc", ".so", ".pyd"}]


def test_the_same_files_are_staged_once_under_the_same_name(staged: Payload, cache: Path) -> None:
    inode = staged.front.stat().st_ino
    assert asyncio.run(stage()) == staged
    assert staged.front.stat().st_ino == inode
    assert digest() == staged.digest
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [staged.digest]


def test_an_edit_of_the_clients_skyward_gives_another_payload(
    staged: Payload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = tmp_path / "edited" / "skyward"
    edited.mkdir(parents=True)
    (edited / "__init__.py").write_text("EDITED = True\n")
    monkeypatch.setattr(skyward.__spec__, "submodule_search_locations", [str(edited)])
    again = asyncio.run(stage())
    assert again.digest != staged.digest
    assert bare_python(again, "import skyward; print(skyward.EDITED)") == "True"


def test_a_plugins_package_comes_along_with_its_entry_points(plugin: Path, cache: Path) -> None:
    payload = asyncio.run(stage(["skyward_example"]))
    code = (
        "import skyward_example\nfrom importlib.metadata import entry_points\n"
        "print(skyward_example.WHO, *[e.value for e in entry_points(group='skyward') if e.name == 'example'])"
    )
    assert bare_python(payload, code) == "example skyward_example"
    assert payload.digest != digest()


def test_a_package_with_compiled_files_is_refused_with_the_remedy(plugin: Path, cache: Path) -> None:
    (plugin / "_fast.cpython-313-x86_64-linux-gnu.so").touch()
    with pytest.raises(ConfigurationError, match=r"_fast.*pure Python"):
        asyncio.run(stage(["skyward_example"]))


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="skyward_nothing cannot be found"):
        digest(["skyward_nothing"])
    monkeypatch.setattr(_payload, "NEEDED", ("no-such-distribution",))
    with pytest.raises(ConfigurationError, match="no-such-distribution, which skyward needs"):
        digest()


def test_the_archive_is_the_same_every_time_and_holds_what_is_staged(staged: Payload) -> None:
    packed = archive()
    assert archive() == packed
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        names = tar.getnames()
        assert names == sorted(names)
        sources = [name for name in names if not name.endswith(".pyc")]
        files = [path for path in staged.front.parent.rglob("*") if path.is_file()]
        assert len(sources) == len(files)
        assert "front/skyward/__init__.py" in sources
        for name in sources:
            content = tar.extractfile(name)
            assert content is not None
            assert content.read() == (staged.front.parent / name).read_bytes()
        assert {(member.mtime, member.uid, member.mode) for member in tar.getmembers()} == {(0, 0, 0o644)}


@pytest.mark.parametrize(("option", "before"), [("-O", "json"), ("-OO", "asyncio, cloudpickle")])
def test_the_archive_is_the_same_whatever_the_process_does_besides(option: str, before: str) -> None:
    code = f"import hashlib, {before}, skyward._payload as it; print(hashlib.sha256(it.archive()).hexdigest())"
    done = subprocess.run(
        [sys.executable, option, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": str(len(option))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(archive()).hexdigest()


def test_the_worker_is_imported_from_the_archive_without_compiling_anything(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        tar.extractall(tmp_path, filter="data")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.pyc")}
    payload = Payload(tmp_path / "front", tmp_path / "back", "")
    code = (
        "import skyward.worker.__main__, skyward.worker.detach, skyward.worker.metrics, cloudpickle\n"
        "print(skyward.worker.slot.Slot._task.__code__.co_filename)"
    )
    assert bare_python(payload, code) == str(payload.front / "skyward" / "worker" / "slot.py")  # for its tracebacks
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.pyc")} == before


def test_payloads_unused_for_a_month_are_removed_when_another_is_staged(cache: Path) -> None:
    old = cache / "old"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    payload = asyncio.run(stage())
    assert not old.exists()
    os.utime(payload.front.parent, (0, 0))
    asyncio.run(stage())
    assert payload.front.parent.stat().st_mtime > 0


def fake_dpkg(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = folder / "dpkg-query"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_system_packages_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'case "$4" in good) echo installed 1.0;; gone) echo config-files 1.0;; *) echo no >&2; exit 1;; esac'
    fake_dpkg(tmp_path, monkeypatch, body)
    assert missing_apt_packages(["good", "gone", "never", "good=1.0", "good=2.0"]) == ["gone", "never", "good=2.0"]
    assert missing_apt_packages([]) == []


def test_without_dpkg_no_system_package_counts_as_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_apt_packages(["good"]) == ["good"]
