"""A remote traceback reads like a local one."""

from __future__ import annotations

import linecache
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest

from skyward import _tracebacks
from skyward._failure import decode
from skyward.worker.failure import encode
from skyward.worker.frames import MAX_FRAMES

SOURCE = """\
def fail(values):
    total = 1 + values["é"] + values["missing"]
    return total


def recurse(depth):
    return recurse(depth + 1)


def many(values):
    return [
        value
        for value in values
        if 1 / value
    ]
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    made: list[str] = []

    def write(source: str = SOURCE, name: str = "far.py") -> Path:
        path = tmp_path / name
        path.write_text(source)
        made.append(str(path))
        return path

    yield write
    for path in made:
        linecache.cache.pop(path, None)
        linecache.cache.pop(f"<node 3>{path}", None)


def load(path: Path) -> dict[str, Callable[..., object]]:
    namespace: dict[str, Callable[..., object]] = {"__name__": "far"}  # type: ignore[dict-item]
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace


def failure(function: Callable[..., object], *args: object) -> bytes:
    try:
        function(*args)
    except Exception as exc:
        exc.__traceback__ = exc.__traceback__.tb_next if exc.__traceback__ else None
        return encode(exc)
    raise AssertionError


def arrive(data: bytes) -> Exception:
    exc = decode(data, node=3, slot=1)
    assert isinstance(exc, Exception)
    return exc


def shown(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc))


def steps(exc: BaseException) -> list[TracebackType]:
    found = []
    step = exc.__traceback__
    while step:
        found.append(step)
        step = step.tb_next
    return found


def test_a_file_that_the_client_has_keeps_its_name(elsewhere: Callable[..., Path]) -> None:
    path = elsewhere()
    exc = arrive(failure(load(path)["fail"], {"é": 1}))
    text = shown(exc)
    assert f'File "{path}", line 2, in fail [node 3, slot 1]\n' in text
    (marker,) = [line for line in text.splitlines() if "^" in line]
    (source,) = [line for line in text.splitlines() if "total" in line]
    assert source[marker.index("~") : marker.rindex("^") + 1] == 'values["missing"]'


def test_local_frames_come_before_remote_ones(elsewhere: Callable[..., Path]) -> None:
    exc = arrive(failure(load(elsewhere())["fail"], {"é": 1}))

    def local_caller() -> None:
        raise exc

    with pytest.raises(KeyError) as info:
        local_caller()
    names = [frame.name for frame in traceback.extract_tb(info.value.__traceback__)]
    assert names[-2:] == ["local_caller", "fail [node 3, slot 1]"]


def test_a_file_that_only_the_node_has_shows_its_lines(elsewhere: Callable[..., Path]) -> None:
    path = elsewhere()
    data = failure(load(path)["fail"], {"é": 1})
    path.unlink()
    exc = arrive(data)
    linecache.checkcache()
    text = shown(exc)
    assert f'File "<node 3>{path}", line 2, in fail' in text
    assert 'total = 1 + values["é"] + values["missing"]' in text


def test_a_file_that_differs_shows_the_lines_of_the_node(elsewhere: Callable[..., Path]) -> None:
    path = elsewhere()
    data = failure(load(path)["fail"], {"é": 1})
    path.write_text("# something else\n" * 5)
    text = shown(arrive(data))
    assert f'File "<node 3>{path}"' in text
    assert 'values["missing"]' in text
    assert "something else" not in text


def test_code_sent_by_value_is_shown_from_the_file_of_the_client(
    elsewhere: Callable[..., Path], tmp_path: Path
) -> None:
    path = elsewhere()
    function = load(path)["fail"]
    hidden = path.rename(tmp_path / "hidden")
    linecache.checkcache()
    data = failure(function, {"é": 1})
    hidden.rename(path)
    text = shown(arrive(data))
    assert f'File "{path}", line 2, in fail' in text
    assert 'values["missing"]' in text


def test_code_without_a_file_keeps_its_name() -> None:
    namespace: dict[str, Callable[..., object]] = {}
    exec("def fail(): 1 / 0", namespace)
    assert 'File "<string>", line 1, in fail' in shown(arrive(failure(namespace["fail"])))


def test_an_expression_over_several_lines_is_placed(elsewhere: Callable[..., Path]) -> None:
    exc = arrive(failure(load(elsewhere())["many"], [0]))
    assert steps(exc)[-1].tb_lineno == 14


def test_a_runaway_recursion_is_cut_in_the_middle(elsewhere: Callable[..., Path]) -> None:
    exc = arrive(failure(load(elsewhere())["recurse"], 0))
    assert isinstance(exc, RecursionError)
    assert len(steps(exc)) == MAX_FRAMES + 1
    assert "frames left out>" in shown(exc)


def test_frames_that_call_a_task_are_left_out(elsewhere: Callable[..., Path]) -> None:
    machinery: dict[str, Callable[..., object]] = {"__name__": "skyward.worker.slot"}  # type: ignore[dict-item]
    exec("def run(function, *args): return function(*args)", machinery)
    exc = arrive(failure(machinery["run"], load(elsewhere())["fail"], {"é": 1}))
    assert [step.tb_frame.f_code.co_name for step in steps(exc)] == ["fail [node 3, slot 1]"]


def test_frames_of_the_machinery_stay_when_they_are_all_there_is() -> None:
    machinery: dict[str, Callable[..., object]] = {"__name__": "skyward.worker.slot"}  # type: ignore[dict-item]
    exec("def run(): raise ValueError", machinery)
    assert len(steps(arrive(failure(machinery["run"])))) == 1


def test_an_exception_that_was_never_raised_has_no_traceback() -> None:
    assert decode(encode(ValueError()), node=0, slot=0).__traceback__ is None


def test_positions_that_code_does_not_carry_are_not_invented(elsewhere: Callable[..., Path]) -> None:
    path = elsewhere()
    code = compile(path.read_text(), str(path), "exec")
    function = load(path)["fail"]
    inner = next(const for const in code.co_consts if getattr(const, "co_name", "") == "fail")
    units = len(inner.co_code) // 2
    bare = inner.replace(co_linetable=_tracebacks._lines_only(units), co_firstlineno=2)
    function.__code__ = bare
    text = shown(arrive(failure(function, {"é": 1})))
    assert "line 2, in fail" in text
    assert "^" not in text


@pytest.mark.parametrize("columns", [(1, 0, 0), (5, 9, 2), (5, 2, 9), (9, 0, 1)])
@pytest.mark.parametrize("filename", ["plain.py", "nul\0.py", "surrogate\udcff.py"])
def test_any_position_and_file_name_makes_a_frame(columns: tuple[int, int, int], filename: str) -> None:
    frames = [(filename, "f", "C.f", "m", 5, columns)]
    made = _tracebacks.build(frames, {}, node=0, slot=0)
    assert made is not None
    assert (made.tb_lineno, made.tb_frame.f_globals["__name__"]) == (5, "m")
    traceback.format_tb(made)


def test_remembered_files_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tracebacks, "MAX_FILES", 2)
    names = [_tracebacks.local_name(f"/far/{number}.py", {1: "x"}, node=9) for number in range(4)]
    assert [name in linecache.cache for name in names] == [False, False, True, True]
    assert linecache.getline(names[-1], 1) == "x\n"


def test_python_itself_shows_the_lines_when_nobody_catches(elsewhere: Callable[..., Path], tmp_path: Path) -> None:
    path = elsewhere()
    data = failure(load(path)["fail"], {"é": 1})
    path.unlink()
    code = f"from skyward._failure import decode\nraise decode({data!r}, node=3, slot=1)"
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, encoding="utf-8")
    assert f'File "<node 3>{path}", line 2, in fail' in done.stderr
    if sys.version_info >= (3, 13):
        # Before, the interpreter's own display reads files only.
        assert 'values["missing"]' in done.stderr
