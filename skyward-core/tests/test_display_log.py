"""The display ``log``, its lines, and what it does to the program's logging."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._display import make_display
from skyward._display.lines import line
from skyward._display.text import clean, duration, encodable, money, tame
from skyward.errors import ConfigurationError
from skyward.model import events as ev
from skyward.model.events import EVENTS, SkywardEvent

SAMPLES: dict[SkywardEvent, str] = {
    ev.InfraCreating(): "Creating infrastructure",
    ev.ClusterProvisioned("us-east-1"): "Cluster ready in us-east-1",
    ev.InstanceLaunching(2, "g5.xlarge", "aws"): "Launching 2 x g5.xlarge on aws",
    ev.InstanceLaunched("i-0abc123", 0, "aws"): "Launching instance i-0abc123...",
    ev.InstanceRunning("i-0abc123", 0, "52.1.2.3"): "Instance running (52.1.2.3)",
    ev.InstanceProvisioned("i-0abc123", 0, False, "aws"): "Instance provisioned, starting bootstrap",
    ev.BootstrapStarting("i-0abc123"): "Bootstrap of i-0abc123 started",
    ev.BootstrapPhase("i-0abc123", "apt"): "Phase 'apt' started",
    ev.BootstrapPhase("i-0abc123", "apt", "completed", 12.2): "Phase 'apt' completed (12s)",
    ev.InstanceBootstrapped("i-0abc123"): "Bootstrap complete",
    ev.NodeReady(0, "i-0abc123"): "Node 0 ready",
    ev.ClusterReady(1): "Cluster ready with 1 node(s)",
    ev.TaskStarted(7, "train", 1, 0, "i"): "Task 7 (train) started on node 1, slot 0",
    ev.TaskCompleted(7, "train", 1, 0, "i", 2.31): "Task completed in 2.3s",
    ev.TaskCompleted(7, "train", 1, 0, "i", 2.31, False, "ValueError: no"): (
        "Task 7 (train) failed on node 1 after 2.3s: ValueError: no"
    ),
    ev.Metrics("i", 0, 12.4, 50.0, 512.0, 1024.0): "node 0: cpu 12%, memory 512/1024 MiB",
    ev.Metrics("i", 0, 12.4, 50.0, 512.0, 1024.0, 80.0, 100.0, 200.0, 61.0): (
        "node 0: cpu 12%, memory 512/1024 MiB, gpu 80%, gpu memory 100/200 MiB, 61 °C"
    ),
    ev.LogLine(0, "i", "hello\tworld", 0.0): "node 0: hello\tworld",
    ev.CostUpdate(60, 0.0123, 0.74, 1, 1): "$0.0123 after 60s, $0.7400 an hour",
    ev.InstancePreempted("i", 1, "spot capacity"): "Node 1 is taken away: spot capacity",
    ev.NodeReplaced(1, "i-old", "i-new"): "Node 1 replaced: i-new for i-old",
    ev.Error("no capacity"): "no capacity",
    ev.Error("disk full", "i-1"): "i-1: disk full",
    ev.PoolStopping(): "Stopping the pool",
    ev.InstanceStopping("i-1"): "Stopping instance i-1",
    ev.CostFinal(1.5, 3600, 1.5, 1, 0, 2.25): "Total cost $1.50 for 60m 00s, $2.25 less than on demand",
    ev.CostFinal(1.5, 3600, 1.5, 0, 1, 0.0): "Total cost $1.50 for 60m 00s",
    ev.ClusterDestroyed(): "Cluster terminated",
}


type Bare = Callable[[], logging.Logger]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bare]:
    """Makes logging what a program finds that has set nothing up. Called in the test: pytest adds handlers too."""
    logger = logging.getLogger("skyward")
    level = logger.level

    def do() -> logging.Logger:
        monkeypatch.setattr(logging.root, "handlers", [])
        monkeypatch.setattr(logger, "handlers", [])
        logger.setLevel(logging.NOTSET)
        return logger

    yield do
    logger.setLevel(level)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_each_event_has_its_line(event: SkywardEvent) -> None:
    assert line(event) == f"[{type(event).__name__}] {SAMPLES[event]}"


def test_a_warning_of_the_time_limit_says_when_and_what_to_do() -> None:
    said = line(ev.TimeoutApproaching(300.0, 0.0))
    assert said.startswith("[TimeoutApproaching] The pool's timeout ends its machines in 5m 00s, at ")
    assert "pool.extend()" in said


def test_every_event_class_is_sampled_here() -> None:
    assert {type(event) for event in SAMPLES} | {ev.TimeoutApproaching} == set(EVENTS)


def test_where_nothing_is_set_up_the_lines_go_plainly_to_stderr(bare: Bare, capsys: pytest.CaptureFixture[str]) -> None:
    logger = bare()
    display = make_display("log")
    display.start()
    for event in (ev.NodeReady(0, "i"), ev.ClusterReady(1), ev.TaskStarted(0, "f", 0, 0, "i")):
        display.callback(event)
    display.stop()
    display.callback(ev.ClusterDestroyed())
    captured = capsys.readouterr()
    assert captured.err == "[NodeReady] Node 0 ready\n[ClusterReady] Cluster ready with 1 node(s)\n"
    assert captured.out == ""
    assert (logger.handlers, logger.level) == ([], logging.NOTSET)


def test_two_displays_share_one_handler_until_the_last_stops(bare: Bare, capsys: pytest.CaptureFixture[str]) -> None:
    logger = bare()
    first, second = make_display("log"), make_display("log")
    first.start()
    second.start()
    first.callback(ev.NodeReady(0, "i"))
    first.stop()
    first.stop()
    second.callback(ev.NodeReady(1, "i"))
    second.stop()
    assert capsys.readouterr().err == "[NodeReady] Node 0 ready\n[NodeReady] Node 1 ready\n"
    assert logger.handlers == []


def test_a_program_that_has_set_up_logging_gets_the_lines_its_own_way(
    bare: Bare, capsys: pytest.CaptureFixture[str]
) -> None:
    bare()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    logging.root.addHandler(handler)
    display = make_display("log")
    display.start()
    display.callback(ev.NodeReady(0, "i"))
    display.callback(ev.Error("100% full"))
    display.stop()
    assert stream.getvalue() == "INFO skyward [NodeReady] Node 0 ready\nERROR skyward [Error] 100% full\n"
    assert capsys.readouterr().err == ""


def test_a_null_handler_does_not_count_as_logging_set_up(bare: Bare, capsys: pytest.CaptureFixture[str]) -> None:
    logger = bare()
    logger.addHandler(logging.NullHandler())
    display = make_display("log")
    display.start()
    display.callback(ev.NodeReady(0, "i"))
    display.stop()
    assert "Node 0 ready" in capsys.readouterr().err


def test_the_level_of_the_logger_decides_what_is_listened_to(bare: Bare) -> None:
    logger = bare()
    display = make_display("log")
    assert set(EVENTS) - set(display.types) == {ev.TaskStarted, ev.Metrics, ev.CostUpdate}
    display.start()
    assert set(EVENTS) - set(display.types) == {ev.TaskStarted, ev.Metrics, ev.CostUpdate}
    display.stop()
    logger.setLevel(logging.DEBUG)
    display.start()
    assert set(display.types) == set(EVENTS)
    logger.setLevel(logging.WARNING)
    assert set(display.types) == {ev.Error, ev.InstancePreempted, ev.TimeoutApproaching}
    display.stop()
    assert logger.level == logging.WARNING


def test_a_given_stream_gets_the_lines_as_well(bare: Bare) -> None:
    logger = bare()
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    display = make_display("log", stream=stream)
    display.start()
    display.callback(ev.LogLine(0, "i", "naïve", 0.0))
    display.stop()
    assert stream.buffer.getvalue() == b"[LogLine] node 0: na\\xefve\n"


def test_a_stream_that_is_closed_disturbs_nothing(bare: Bare) -> None:
    bare()
    stream = io.StringIO()
    display = make_display("log", stream=stream)
    display.start()
    stream.close()
    display.callback(ev.NodeReady(0, "i"))
    display.stop()


def test_a_display_that_was_never_started_stops_quietly() -> None:
    for kind in ("log", "spinner", "quiet"):
        make_display(kind).stop()


def test_quiet_listens_to_nothing() -> None:
    display = make_display("quiet")
    display.start()
    display.callback(ev.PoolStopping())
    assert display.types == ()


@pytest.mark.parametrize(("kind", "hint"), [("spiner", "did you mean 'spinner'"), ("panel", "choose 'log'")])
def test_an_unknown_display_is_refused_with_the_near_match(kind: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        make_display(kind)


def test_rich_is_loaded_for_the_live_spinner_only() -> None:
    code = (
        "import sys; from skyward._display import make_display\n"
        "for kind in ('log', 'quiet', 'spinner'): make_display(kind, interactive=False).start()\n"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@given(st.text())
def test_no_text_of_a_node_can_steer_the_terminal(text: str) -> None:
    cleaned = clean(text)
    assert all(character == "\t" or not (character < " " or "\x7f" <= character <= "\x9f") for character in cleaned)
    assert len((cleaned + "|").splitlines()) == 1
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]) | st.just("\t")))
def test_harmless_text_is_left_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x1bcreset", "reset"),
        ("a\x1b", "a"),
        ("bell\x07, back\x08, nul\x00, del\x7f", "bell, back, nul, del"),
        ("two\r\nlines\n", "two lines"),
        ("one\u2028two\x85three", "one two three"),
        ("\u202egnp.exe", "gnp.exe"),
        ("half \ud83d", "half \ufffd"),
        ("tab\tstays, é and 漢字 and 😀 too", "tab\tstays, é and 漢字 and 😀 too"),
    ],
)
def test_escape_sequences_are_taken_out_whole(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_the_programs_own_colours_may_stay_but_its_cursor_moves_may_not() -> None:
    assert tame("\x1b[1mbold\x1b[A\x1b[2K\n") == "\x1b[1mbold\n\x1b[0m"
    assert tame("plain\n") == "plain\n"
    assert tame("\x1b[Aup\n") == "up\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0ms"),
        (0.0041, "4ms"),
        (2.3, "2.3s"),
        (9.97, "10s"),
        (119.4, "119s"),
        (125, "2m 05s"),
        (7199.9, "2h 00m"),
        (11400, "3h 10m"),
    ],
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("dollars", "said"),
    [(0, "$0.00"), (0.00421, "$0.0042"), (0.99999, "$1.00"), (12.345, "$12.35"), (-2.5, "-$2.50")],
)
def test_money_shows_cents_and_less(dollars: float, said: str) -> None:
    assert money(dollars) == said


def test_what_an_encoding_lacks_is_escaped() -> None:
    assert encodable("é", "ascii") == encodable("é", None) == "\\xe9"
    assert encodable("é", "utf-8") == "é"
