"""The client's view of a slot over reconnections and deaths, against a double of the dispatcher and of the wire."""

from __future__ import annotations

import pytest
from slot_bench import Bench, Wire, frame, task

from skyward.worker.protocol import END, TASK, Frame, Kind, head_of


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_slot_is_away_from_its_connections_end_until_it_has_greeted_again(bench: Bench) -> None:
    connection, _ = bench.connect()
    connection.on_lost(None)
    assert bench.said == [("up",), ("away",), ("reconnect",)]
    again, wire = bench.slot.connection(), Wire()
    again.attach(wire)
    assert bench.said == []
    bench.welcome(again)
    assert bench.said == [("back",)]


def test_a_slot_whose_connection_is_replaced_is_away_until_it_has_greeted_on_the_new_one(bench: Bench) -> None:
    bench.connect()
    connection, wire = bench.slot.connection(), Wire()
    connection.attach(wire)
    assert bench.said == [("up",), ("away",)]
    bench.welcome(connection)
    assert bench.said == [("back",)]


def test_it_is_away_before_what_came_last_is_read_so_that_nothing_is_given_to_it_any_more(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71)
    connection.on_frame(report(1, raw_lines=1))
    connection.on_lost(None)
    assert bench.said == [("up",), ("later",), ("away",), ("ended", 71), ("reconnect",)]


def test_what_it_never_got_is_sent_again_before_it_is_given_more(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71, 72)
    connection.on_lost(None)
    bench.dispatcher.slot_back = lambda slot: slot.send(task(73), ahead=True)  # type: ignore[method-assign]
    _, wire = bench.connect(started=1, running=1)
    assert wire.tasks == [72, 73]


def test_of_a_slot_that_died_nobody_is_told_that_it_is_back(bench: Bench) -> None:
    connection, _ = bench.connect()
    connection.on_lost(None)
    bench.dies(1)
    bench.connect(2)
    assert [word[0] for word in bench.said] == ["up", "away", "reconnect", "died", "up"]


def test_a_slot_is_told_of_a_new_head_at_once_and_again_on_each_connection(bench: Bench) -> None:
    connection, wire = bench.connect()
    bench.slot.meet_at(("10.0.0.7", 29500))
    bench.send(71)
    assert [each.kind for each in wire.frames][1:] == [Kind.HEAD, Kind.FUNCTION, Kind.TASK]
    assert head_of(wire.frames[1]) == ("10.0.0.7", 29500)
    connection.on_lost(None)
    _, wire = bench.connect()
    assert [each.kind for each in wire.frames] == [Kind.RESUME, Kind.HEAD, Kind.FUNCTION, Kind.TASK]


def test_nothing_is_sent_before_the_greeting(bench: Bench) -> None:
    connection, wire = bench.slot.connection(), Wire()
    connection.attach(wire)
    bench.send(71)
    assert wire.frames == []
    bench.welcome(connection)
    assert wire.kinds == [Kind.RESUME, Kind.FUNCTION, Kind.TASK]
    assert bench.said == [("up",)]


def test_a_greeting_may_come_before_the_link_is_known(bench: Bench) -> None:
    connection, wire = bench.slot.connection(), Wire()
    bench.welcome(connection)
    assert bench.said == []
    connection.attach(wire)
    assert bench.said == [("up",)]


def test_a_connection_that_ended_before_its_link_was_known_is_not_used(bench: Bench) -> None:
    connection, wire = bench.slot.connection(), Wire()
    bench.welcome(connection)
    connection.on_lost(None)
    connection.attach(wire)
    bench.send(71)
    assert wire.frames == []
    assert bench.said == [("reconnect",)]


def test_a_function_is_sent_once(bench: Bench) -> None:
    _, wire = bench.connect()
    bench.send(71, 72)
    assert wire.kinds == [Kind.RESUME, Kind.FUNCTION, Kind.TASK, Kind.TASK]


def test_after_a_reconnection_only_what_never_arrived_is_sent_again(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71, 72, 73)
    connection.on_lost(None)
    _, wire = bench.connect(started=2, running=2, done=[1], functions=[b"f" * 16])
    assert wire.tasks == [73]
    assert wire.kinds == [Kind.RESUME, Kind.TASK]
    assert TASK.unpack(wire.frames[-1].head)[3] is True, "as one sent ahead, for it may have been taken back"
    assert bench.said == [("up",), ("away",), ("reconnect",), ("back",)]


def test_what_was_taken_back_is_left_to_the_answer(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71, 72, 73)
    connection.on_lost(None)
    _, wire = bench.connect(started=3, running=3, done=[1], recalled=[2])
    assert wire.tasks == []
    assert bench.slot.holds(2) is not None


def test_what_a_living_slot_has_started_and_does_not_know_is_unknown(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71)
    connection.on_lost(None)
    bench.connect(started=1)
    assert bench.said[-2:] == [("unknown", 71), ("back",)]


def test_a_result_that_comes_twice_counts_once(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71)
    for _ in range(2):
        connection.on_frame(frame(Kind.RESULT, END.pack(1, 0, 0.1, 0), 71, [b"result"]))
    assert bench.said == [("up",), ("ended", 71)]


def test_lines_and_large_results_are_acknowledged_and_what_has_come_is_said_on_resuming(bench: Bench) -> None:
    connection, wire = bench.connect()
    bench.send(71)
    for number in range(1, 301):
        connection.on_frame(frame(Kind.LOG, ("line", "stdout", 0.0, 0, number)))
    assert wire.kinds[3:] == [Kind.ACK]
    connection.on_frame(frame(Kind.RESULT, END.pack(1, 0, 0.1, 0), 71, [bytes(1 << 20)]))
    assert [head_of(each) for each in wire.frames if each.kind == Kind.ACK] == [(0, 256), (1, 300)]
    connection.on_lost(None)
    _, wire = bench.connect(started=1)
    assert head_of(wire.frames[0]) == (1, 300)


def test_a_dead_process_is_parted_into_run_not_run_and_unknown(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71, 72, 73, 74)
    bench.dies(1, running=2, started=2, recalled=[3])
    assert bench.said == [("up",)], "what it had still sent is read first"
    connection.on_lost(None)
    assert bench.said == [("away",), ("died", 1, (72,), (73, 74), (71,)), ("reconnect",)]


def test_a_death_that_is_told_twice_counts_once(bench: Bench) -> None:
    connection, _ = bench.connect()
    connection.on_lost(None)
    bench.dies(1)
    bench.dies(1)
    assert [word[0] for word in bench.said] == ["up", "away", "reconnect", "died"]


@pytest.mark.parametrize("order", ["death first", "greeting first"])
def test_the_next_process_is_used_once_the_death_of_the_one_before_is_known(bench: Bench, order: str) -> None:
    connection, _ = bench.connect()
    bench.send(71)
    connection.on_lost(None)
    if order == "death first":
        bench.dies(1, running=1, started=1)
        _, wire = bench.connect(2, started=1)
    else:
        _, wire = bench.connect(2, started=1)
        assert bench.said == [("up",), ("away",), ("reconnect",)]
        bench.dies(1, running=1, started=1)
    assert [word[0] for word in bench.said if word[0] != "reconnect"][-2:] == ["died", "up"]
    bench.send(72)
    assert wire.tasks == [72]
    assert Kind.FUNCTION in wire.kinds, "the new process holds nothing"


def test_the_greeting_of_a_process_that_is_known_to_be_dead_is_passed_over(bench: Bench) -> None:
    bench.dies(1)
    connection, wire = bench.connect(1)
    assert wire.frames == []
    connection.on_lost(None)
    bench.connect(2)
    assert bench.said == [("reconnect",), ("up",)]


def test_several_deaths_that_were_told_late_leave_the_living_process_alone(bench: Bench) -> None:
    connection, _ = bench.connect(1)
    bench.send(71)
    connection.on_lost(None)
    bench.connect(3, started=1)
    bench.dies(1, running=1, started=1)
    assert bench.said[-2:] == [("died", 1, (71,), (), ()), ("up",)]
    _, wire = bench.connect(3, started=1)
    bench.dies(2)
    bench.send(72)
    assert wire.tasks == [72]
    assert bench.said == [("away",), ("back",)]


def test_frames_of_a_connection_that_was_replaced_are_not_listened_to(bench: Bench) -> None:
    old, _ = bench.connect()
    bench.send(71)
    _, wire = bench.connect(started=0)
    old.on_frame(frame(Kind.LOG, ("line", "stdout", 0.0, 0, 1)))
    old.on_lost(None)
    assert [word[0] for word in bench.said] == ["up", "away", "back", "reconnect"]
    bench.send(72)
    assert wire.tasks == [71, 72]


def test_a_closed_slot_gives_back_what_was_out_and_hears_nothing_more(bench: Bench) -> None:
    _, wire = bench.connect()
    bench.send(71, 72)
    assert [each.number for each in bench.slot.close()] == [71, 72]
    assert wire.closed
    bench.dies(1, running=1, started=1)
    assert bench.said == [("up",)]


def test_functions_that_were_not_used_for_long_are_forgotten_on_both_sides(bench: Bench) -> None:
    _, wire = bench.connect()
    for number in range(200):
        bench.slot.send(task(number, number.to_bytes(16, "big")), ahead=False)
    forgotten = [head_of(each)[0] for each in wire.frames if each.kind == Kind.FORGET]
    assert forgotten == [number.to_bytes(16, "big") for number in range(72)]


def report(sequence: int, raw_lines: int) -> Frame:
    return frame(Kind.RESULT, END.pack(sequence, raw_lines, 0.1, 0), 70 + sequence, [b"result"])


def test_a_report_waits_for_raw_lines_of_its_task_and_all_behind_it_keeps_its_order(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71, 72)
    connection.on_frame(report(1, raw_lines=2))
    connection.on_frame(frame(Kind.LOG, ("of the next", "stdout", 0.0, 0, 1)))
    connection.on_frame(report(2, raw_lines=3))
    bench.slot.raw_came(1)
    assert bench.said == [("up",), ("later",)]
    bench.slot.raw_came(2)
    assert bench.said == [("ended", 71), ("line", "of the next"), ("later",)]
    bench.slot.raw_came(3)
    connection.on_frame(report(2, raw_lines=3))
    assert bench.said == [("ended", 72)]


@pytest.mark.parametrize("how", ["in time", "with its connection"])
def test_raw_lines_that_do_not_come_are_not_waited_for_long(bench: Bench, how: str) -> None:
    connection, _ = bench.connect()
    bench.send(71, 72, 73)
    for sequence in (1, 2):
        connection.on_frame(report(sequence, raw_lines=sequence))
    if how == "in time":
        bench.dispatcher.limit()
    else:
        connection.on_lost(None)
    assert [word for word in bench.said if word[0] == "ended"] == [("ended", 71), ("ended", 72)]
    _, wire = bench.connect(started=3, running=3)
    assert head_of(wire.frames[0]) == (2, 0)


def test_what_waited_is_sent_again_when_another_connection_takes_its_place(bench: Bench) -> None:
    connection, _ = bench.connect()
    bench.send(71)
    connection.on_frame(report(1, raw_lines=1))
    again, wire = bench.connect(started=1, done=[1])
    assert head_of(wire.frames[0]) == (0, 0)
    bench.slot.raw_came(1)
    again.on_frame(report(1, raw_lines=1))
    assert [word for word in bench.said if word[0] == "ended"] == [("ended", 71)]
