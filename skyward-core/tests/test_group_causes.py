"""Which of several failures is the first cause, and what is said of the others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._group import End, Fate, account, fate_of, first_cause, is_certain, may_run_again, was_killed
from skyward.errors import (
    BudgetExhausted,
    NodeLost,
    OutcomeUnknown,
    PoolTimeout,
    SlotDied,
    TaskCancelled,
    TaskExit,
    UsageError,
)

LOSSES = [NodeLost("gone"), PoolTimeout("over"), BudgetExhausted("spent")]
DEATHS = [SlotDied("killed"), OutcomeUnknown("lost")]
RAISED = [ValueError("mine"), TaskExit("left"), UsageError("closed"), KeyboardInterrupt()]
OWN = [RAISED[0], RAISED[1], RAISED[2], DEATHS[0]]
"""What a function can end with that was told to stop, although not for that."""
CONSEQUENCES = [ConnectionResetError("peer"), BrokenPipeError("peer")]
STOPPED = [TaskCancelled("stopped")]


def judge(error: BaseException) -> bool:
    return isinstance(error, ConnectionError)


errors = st.sampled_from([None, *LOSSES, *DEATHS, *RAISED, *CONSEQUENCES, *STOPPED])
stops = st.tuples(errors, st.booleans())


def ends_of(came: list[tuple[BaseException | None, bool]], order: list[int]) -> list[End]:
    return [
        End(rank, fate_of(error, stopped=stopped, judge=judge), error)
        for rank, (error, stopped) in zip(order, came, strict=True)
    ]


@given(st.lists(stops, min_size=1, max_size=8).flatmap(lambda x: st.tuples(st.just(x), st.permutations(range(len(x))))))
def test_the_cause_is_the_first_to_arrive_of_the_weightiest_failures(
    drawn: tuple[list[tuple[BaseException | None, bool]], list[int]],
) -> None:
    came, order = drawn
    ends = ends_of(came, order)
    cause = first_cause(ends)
    if all(error is None for error, _ in came):
        assert cause is None
        return
    assert cause is not None
    losses = [end for end in ends if end.error in LOSSES]
    deaths = [end for (_, stopped), end in zip(came, ends, strict=True) if end.error in DEATHS and not stopped]
    raised = [end for (_, stopped), end in zip(came, ends, strict=True) if end.error in RAISED and not stopped]
    late = [end for (_, stopped), end in zip(came, ends, strict=True) if end.error in OWN and stopped]
    follow = [end for end in ends if end.error is not None and end.error not in STOPPED]
    lost = [end for end in follow if end.error in DEATHS]
    weightiest = losses or deaths or raised or late or lost or follow
    assert cause == (weightiest or [end for end in ends if end.error is not None])[0]


@given(
    st.lists(stops, min_size=2, max_size=30).flatmap(lambda x: st.tuples(st.just(x), st.permutations(range(len(x)))))
)
def test_the_account_names_every_rank_once_and_stays_short(
    drawn: tuple[list[tuple[BaseException | None, bool]], list[int]],
) -> None:
    came, order = drawn
    ends = ends_of(came, order)
    cause = first_cause(ends)
    if cause is None:
        return
    places = [divmod(rank, 2) for rank in range(len(ends))]
    text = account("train", places, ends, cause)
    assert text.startswith(f"this ended rank {cause.rank} (node {cause.rank // 2}, slot {cause.rank % 2}) of the ")
    others = text.partition("of the others, ")[2]
    named = [int(number) for group in re.findall(r"ranks? ([\d, ]+)", others) for number in group.split(",")]
    more = sum(map(int, re.findall(r"(\d+) more failed", others)))
    assert len(set(named)) == len(named)
    assert len(named) + more == len(ends) - 1
    assert cause.rank not in named
    assert len(text) < 1000


def test_an_error_with_a_whole_page_to_say_is_cut_in_the_account_of_another() -> None:
    ends = [End(0, Fate.RAISED, ValueError("x")), End(1, Fate.FOLLOWED, ConnectionError("line\n" * 1000))]
    text = account("train", [(0, 0), (1, 0)], ends, ends[0])
    assert "\n" not in text
    assert "ConnectionError: line line" in text
    assert len(text) < 400


@pytest.mark.parametrize("error", [*LOSSES, *DEATHS, *RAISED, *CONSEQUENCES, *STOPPED])
def test_only_what_was_lost_runs_again(error: BaseException) -> None:
    end = End(0, fate_of(error, stopped=False, judge=judge), error)
    assert may_run_again(end) == isinstance(error, (NodeLost, SlotDied, OutcomeUnknown))


def test_what_ends_when_it_has_been_told_to_is_no_cause_as_long_as_nobody_can_tell_consequences() -> None:
    for error in (*RAISED, *CONSEQUENCES, OutcomeUnknown("lost")):
        assert fate_of(error, stopped=True) == Fate.FOLLOWED
    assert fate_of(TaskCancelled("stopped"), stopped=True) == Fate.STOPPED
    assert fate_of(NodeLost("gone"), stopped=True) == Fate.LOST, "a machine does not go because a function is stopped"


def test_the_first_cause_is_found_although_it_is_told_after_the_others_were_stopped() -> None:
    ends = [
        End(0, fate_of(ConnectionResetError("peer"), stopped=False, judge=judge), ConnectionResetError("peer")),
        End(2, fate_of(TaskCancelled("stopped"), stopped=True, judge=judge), TaskCancelled("stopped")),
        End(1, fate_of(ValueError("mine"), stopped=True, judge=judge), ValueError("mine")),
    ]
    cause = first_cause(ends)
    assert cause == ends[2]
    assert not may_run_again(ends[2])


def test_what_a_function_raises_because_it_was_stopped_is_no_cause() -> None:
    interrupted: list[BaseException] = []

    def clean_up(error: BaseException) -> None:
        try:
            try:
                raise KeyboardInterrupt
            finally:
                raise error
        except BaseException as raised:
            interrupted.append(raised)

    clean_up(ValueError("in the clean-up"))
    try:
        raise RuntimeError("wrapped") from interrupted[0]
    except RuntimeError as error:
        interrupted.append(error)
    interrupted.append(BaseExceptionGroup("several", [ValueError("x"), interrupted[0]]))
    looped = ValueError("looped")
    looped.__context__ = KeyError("one")
    looped.__context__.__context__ = looped
    for each in interrupted:
        assert fate_of(each, stopped=True, judge=judge) == Fate.FOLLOWED
    assert fate_of(looped, stopped=True, judge=judge) == Fate.LATE


def test_a_process_that_is_killed_for_memory_after_the_stop_is_the_cause_and_one_that_crashes_then_only_may_be() -> (
    None
):
    killed = SlotDied("killed", signal=9, out_of_memory=True)
    crashed = SlotDied("crashed", signal=11)
    assert fate_of(killed, stopped=True) == fate_of(killed, stopped=True, judge=judge) == Fate.DIED
    assert fate_of(crashed, stopped=True) == fate_of(crashed, stopped=True, judge=judge) == Fate.LATE
    own = End(0, Fate.RAISED, ValueError("mine"))
    assert first_cause([own, End(1, Fate.LATE, crashed)]) == own
    assert may_run_again(End(1, Fate.LATE, crashed))


def test_only_a_process_that_was_killed_since_it_did_not_stop_has_no_end_of_its_own() -> None:
    assert was_killed({"killed_for": "cancelled", "signal": 9})
    assert not was_killed({"killed_for": "cancelled", "signal": 11})
    assert not was_killed({"killed_for": "", "signal": 9})
    assert not was_killed({"killed_for": "cancelled", "signal": None})


def test_a_death_that_is_taken_for_a_consequence_runs_again_where_nothing_was_found_that_it_follows() -> None:
    follows = End(0, Fate.FOLLOWED, ConnectionResetError("peer"))
    aborted = End(1, Fate.FOLLOWED, SlotDied("aborted", signal=6))
    own = End(2, Fate.RAISED, ValueError("mine"))
    assert first_cause([follows, aborted]) == aborted
    assert may_run_again(aborted)
    assert first_cause([follows, aborted, own]) == own
    assert not may_run_again(own)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_that_has_no_text_is_told_by_its_class() -> None:
    ends = [End(0, Fate.RAISED, ValueError("x")), End(1, Fate.FOLLOWED, Unspeakable())]
    text = account("train", [(0, 0), (1, 0)], ends, ends[0])
    assert text.endswith("rank 1 ended with Unspeakable, whose text cannot be had: RuntimeError")


def test_a_death_may_be_called_a_consequence_and_a_loss_may_not() -> None:
    assert fate_of(SlotDied("aborted", signal=6), stopped=False, judge=lambda _: True) == Fate.FOLLOWED
    assert fate_of(NodeLost("gone"), stopped=False, judge=lambda _: True) == Fate.LOST


def test_others_are_heard_out_only_while_the_cause_may_still_come() -> None:
    assert is_certain(Fate.LOST, None)
    assert is_certain(Fate.DIED, None)
    assert not is_certain(Fate.RAISED, None), "any error may be the consequence of another one"
    assert is_certain(Fate.RAISED, judge), "the integration says that it is none"
    assert not is_certain(Fate.FOLLOWED, judge)


def test_a_judge_that_fails_has_said_no(caplog: pytest.LogCaptureFixture) -> None:
    assert fate_of(ValueError("x"), stopped=False, judge=lambda _: 1 / 0 > 0) == Fate.RAISED
    assert "is_consequence" in caplog.text


def test_ends_that_differ_in_numbers_alone_are_told_once() -> None:
    ends = [
        End(0, Fate.RAISED, ValueError("mine")),
        End(1, Fate.FOLLOWED, RuntimeError("closed by peer [10.0.0.1]:4711")),
        End(2, Fate.FOLLOWED, RuntimeError("closed by peer [10.0.0.1]:4712")),
    ]
    told = account("train", [(0, 0), (1, 0), (2, 0)], ends, ends[0])
    assert told.endswith("of the others, each of ranks 1, 2 ended with RuntimeError: closed by peer [10.0.0.1]:4711")
