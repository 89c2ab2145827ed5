"""The scheduler against a model of what is promised: nothing lost, nothing twice, nothing idle beside work."""

from __future__ import annotations

from collections import deque

import pytest

from skyward._scheduler import Assignment, Scheduler, SlotKey


def with_slots(*slots: SlotKey, ahead: bool = True) -> Scheduler:
    scheduler = Scheduler(lambda _task: ahead)
    for slot in slots:
        assert scheduler.slot_up(slot) is None
    return scheduler


def test_idle_slots_are_used_round_robin_over_the_nodes() -> None:
    scheduler = with_slots(*[(node, slot) for node in range(3) for slot in range(2)])
    used = [scheduler.submit(task) for task in range(6)]
    assert [assignment.slot[0] for assignment in used if assignment] == [0, 1, 2, 0, 1, 2]
    assert len({assignment.slot for assignment in used if assignment}) == 6


def test_one_task_after_another_goes_round_the_nodes_too() -> None:
    scheduler = with_slots((0, 0), (0, 1), (1, 0), (1, 1))
    nodes = []
    for task in range(6):
        assignment = scheduler.submit(task)
        assert assignment is not None
        nodes.append(assignment.slot[0])
        scheduler.finished(task, assignment.slot)
    assert nodes == [0, 1, 0, 1, 0, 1]


def test_a_busy_slot_never_delays_a_task_that_another_one_could_take() -> None:
    scheduler = with_slots((0, 0), (1, 0))
    for task in range(4):
        scheduler.submit(task)
    assert list(scheduler.held((0, 0))) == [0, 2]
    assert scheduler.finished(1, (1, 0)) is None
    assert scheduler.finished(3, (1, 0)) is None
    assert scheduler.to_take_back() == [(2, (0, 0))]
    assert scheduler.taken_back(2, (0, 0), agreed=True) == Assignment(2, (1, 0), False)


def test_a_slot_that_refuses_to_give_a_task_back_keeps_it_and_may_be_asked_again() -> None:
    scheduler = with_slots((0, 0))
    scheduler.submit(1)
    scheduler.submit(2)
    scheduler.slot_up((1, 0))
    assert scheduler.to_take_back() == [(2, (0, 0))]
    assert scheduler.taken_back(2, (0, 0), agreed=False) is None
    assert list(scheduler.held((0, 0))) == [1, 2]
    assert scheduler.to_take_back() == [(2, (0, 0))]


def test_a_task_that_is_taken_back_too_late_stays_where_it_is() -> None:
    scheduler = with_slots((0, 0))
    scheduler.submit(1)
    scheduler.submit(2)
    scheduler.slot_up((1, 0))
    assert scheduler.to_take_back() == [(2, (0, 0))]
    assert scheduler.finished(1, (0, 0)) is None
    assert scheduler.taken_back(2, (0, 0), agreed=True) == Assignment(2, (0, 0), False)


def test_a_task_that_was_cancelled_and_given_back_makes_room_for_the_next_one() -> None:
    scheduler = with_slots((0, 0))
    for task in (1, 2, 3):
        scheduler.submit(task)
    assert scheduler.drop(2, (0, 0)) == Assignment(3, (0, 0), True)
    assert scheduler.drop(2, (0, 0)) is None


def test_no_more_tasks_are_asked_back_than_slots_are_idle() -> None:
    scheduler = with_slots((0, 0), (1, 0))
    for task in range(4):
        scheduler.submit(task)
    scheduler.slot_up((2, 0))
    assert len(scheduler.to_take_back()) == 1
    assert scheduler.to_take_back() == []


def test_while_a_slot_is_away_single_tasks_go_to_the_others_or_wait_for_whichever_comes_first() -> None:
    scheduler = with_slots((0, 0), (1, 0))
    scheduler.slot_away((0, 0))
    assert scheduler.submit(1) == Assignment(1, (1, 0), False)
    assert scheduler.submit(2) == Assignment(2, (1, 0), True), "ahead on a busy slot, rather than on one out of reach"
    assert scheduler.submit(3) is None
    scheduler.slot_away((1, 0))
    assert scheduler.finished(1, (1, 0)) is None, "its end was reported before the connection ended"
    assert scheduler.slot_back((0, 0)) == Assignment(3, (0, 0), False)
    assert scheduler.slot_back((1, 0)) is None
    assert list(scheduler.held((1, 0))) == [2]


def test_a_task_of_one_node_waits_for_that_node_to_come_back() -> None:
    scheduler = with_slots((0, 0), (1, 0))
    scheduler.slot_away((1, 0))
    assert scheduler.submit(1, node=1) is None
    assert scheduler.slot_back((1, 0)) == Assignment(1, (1, 0), False)


def test_a_slot_that_is_away_is_not_asked_to_give_a_task_back() -> None:
    scheduler = with_slots((0, 0), (1, 0))
    for task in range(4):
        scheduler.submit(task)
    scheduler.slot_away((0, 0))
    scheduler.slot_up((2, 0))
    assert scheduler.to_take_back() == [(3, (1, 0))]
    assert scheduler.taken_back(3, (1, 0), agreed=True) == Assignment(3, (2, 0), False)
    scheduler.slot_back((0, 0))
    scheduler.slot_up((3, 0))
    assert scheduler.to_take_back() == [(2, (0, 0))]


def test_an_answer_that_cannot_come_keeps_no_slot_free() -> None:
    scheduler = with_slots((0, 0), (1, 0))
    for task in range(4):
        scheduler.submit(task)
    scheduler.slot_up((2, 0))
    assert scheduler.to_take_back() == [(2, (0, 0))]
    scheduler.slot_away((0, 0))
    assert scheduler.to_take_back() == [(3, (1, 0))]


def test_tasks_of_the_other_nodes_wait_while_the_head_is_missing_and_single_tasks_do_not() -> None:
    scheduler = with_slots((1, 0), (1, 1), (2, 0))
    assert scheduler.headless(missing=True) == []
    assert [scheduler.submit(node, node) for node in range(3)] == [None] * 3
    assert scheduler.submit(10) == Assignment(10, (1, 0), False)
    assert scheduler.slot_up((0, 0)) == Assignment(0, (0, 0), False), "the head itself is what is waited for"
    assert scheduler.headless(missing=False) == [Assignment(1, (1, 1), False), Assignment(2, (2, 0), False)]


def test_a_task_of_unknown_length_waits_for_a_slot_instead_of_going_ahead() -> None:
    scheduler = with_slots((0, 0), ahead=False)
    assert scheduler.submit(1) == Assignment(1, (0, 0), False)
    assert scheduler.submit(2) is None
    assert scheduler.finished(1, (0, 0)) == Assignment(2, (0, 0), False)


def test_a_task_that_did_not_run_goes_before_those_that_came_later() -> None:
    scheduler = with_slots((0, 0), ahead=False)
    for task in range(3):
        scheduler.submit(task)
    assert scheduler.slot_down((0, 0)) == [0]
    assert scheduler.requeue(0, None) is None
    assert scheduler.slot_up((0, 0)) == Assignment(0, (0, 0), False)


def test_a_task_of_one_node_goes_before_tasks_that_any_node_may_take() -> None:
    scheduler = with_slots((0, 0), ahead=False)
    for task, node in [(0, None), (1, None), (2, 0)]:
        scheduler.submit(task, node)
    assert scheduler.finished(0, (0, 0)) == Assignment(2, (0, 0), False)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("node", [None, 0])
def test_a_queue_of_a_hundred_thousand_tasks_can_be_withdrawn_one_by_one(backwards: bool, node: int | None) -> None:
    # A queue that is searched for each task would take hours.
    scheduler = with_slots((0, 0), ahead=False)
    for task in range(100_001):
        scheduler.submit(task, node)
    waiting = range(1, 100_001)
    assert all(scheduler.withdraw(task) for task in (reversed(waiting) if backwards else waiting))
    assert scheduler.waiting == 0
    assert not scheduler.withdraw(0)


def test_a_long_queue_is_worked_off_in_order_and_keeps_nothing() -> None:
    scheduler = with_slots((0, 0), (1, 0))
    running = deque(filter(None, (scheduler.submit(task) for task in range(50_000))))
    order = []
    while running:
        task, slot, _ = running.popleft()
        order.append(task)
        following = scheduler.finished(task, slot)
        if following is not None:
            running.append(following)
    assert order == list(range(50_000))
    assert scheduler.drain() == []
