"""The scheduler against a model of what is promised: nothing lost, nothing twice, nothing idle beside work."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skyward._scheduler import Assignment, Scheduler, SlotKey


class SchedulerMachine(RuleBasedStateMachine):
    """Drives a scheduler as the dispatcher does, and keeps its own books of what was sent where."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: set[int] = set()
        self.scheduler = Scheduler(lambda task: task not in self.slow)
        self.node_of: dict[int, int | None] = {}  # every task that has not ended
        self.sent: dict[SlotKey, list[int]] = {}  # the slots that are up, and what they were sent
        self.away: set[SlotKey] = set()  # those of them that are out of reach
        self.headless = False
        self.homeless: list[int] = []  # tasks of a slot that died, to be given back
        self.asked: list[tuple[int, SlotKey]] = []
        self.numbers = iter(range(10**6))

    def take(self, assignment: Assignment | None) -> None:
        if assignment is None:
            return
        task, slot, ahead = assignment
        assert task in self.node_of, "a task that has ended is sent"
        assert all(task not in held for held in self.sent.values()), "a task is on two slots"
        assert self.may_run(task, slot[0]), "a pinned task is sent to another node, or before there is a head"
        assert slot not in self.away, "a task is sent to a slot that is out of reach"
        held = self.sent[slot]
        assert ahead == bool(held)
        assert not ahead or task not in self.slow, "a task that may not go ahead does"
        held.append(task)

    def may_run(self, task: int, node: int) -> bool:
        pin = self.node_of[task]
        return pin is None or (pin == node and not (self.headless and node))

    def new(self, node: int | None, *, slow: bool) -> int:
        task = next(self.numbers)
        self.node_of[task] = node
        if slow:
            self.slow.add(task)
        return task

    @initialize(slots=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6))
    def begin(self, slots: set[SlotKey]) -> None:
        for slot in sorted(slots):
            self.slot_up(slot)

    @rule(slot=st.tuples(st.integers(0, 2), st.integers(0, 2)))
    def slot_up(self, slot: SlotKey) -> None:
        if slot in self.sent:
            assert self.scheduler.slot_up(slot) is None
            return
        self.sent[slot] = []
        self.take(self.scheduler.slot_up(slot))

    @rule(node=st.none() | st.integers(0, 2), slow=st.booleans())
    def submit(self, node: int | None, slow: bool) -> None:
        self.take(self.scheduler.submit(self.new(node, slow=slow), node))

    @rule(node=st.none() | st.integers(0, 2), count=st.integers(2, 12))
    def submit_many(self, node: int | None, count: int) -> None:
        for _ in range(count):
            self.submit(node, False)

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(slot for slot, held in self.sent.items() if held)))
        task = self.sent[slot].pop(0)
        del self.node_of[task]
        self.take(self.scheduler.finished(task, slot))
        assert self.scheduler.finished(task, slot) is None, "an end that is reported twice counts once"

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def slot_dies(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.sent)))
        held = self.sent.pop(slot)
        self.away.discard(slot)
        assert self.scheduler.slot_down(slot) == held
        assert self.scheduler.slot_down(slot) == []
        self.homeless += held

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def slot_goes_away(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.sent)))
        self.away.add(slot)
        self.scheduler.slot_away(slot)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def slot_comes_back(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.sent)))
        self.away.discard(slot)
        self.take(self.scheduler.slot_back(slot))
        assert self.scheduler.slot_back(slot) is None, "a return that is told twice counts once"

    @rule(missing=st.booleans())
    def the_head_goes_or_comes(self, missing: bool) -> None:
        self.headless = missing
        for assignment in self.scheduler.headless(missing=missing):
            self.take(assignment)

    @precondition(lambda self: self.homeless)
    @rule(again=st.booleans())
    def settle_a_homeless_task(self, again: bool) -> None:
        task = self.homeless.pop()
        if again:
            self.take(self.scheduler.requeue(task, self.node_of[task]))
        else:
            del self.node_of[task]

    @precondition(lambda self: self.node_of)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.node_of)))
        waits = task not in self.homeless and all(task not in held for held in self.sent.values())
        assert self.scheduler.withdraw(task) == waits
        assert not self.scheduler.withdraw(task)
        if waits:
            del self.node_of[task]

    @rule(node=st.none() | st.integers(0, 2))
    def drain(self, node: int | None) -> None:
        on_slots = {task for held in self.sent.values() for task in held}
        waiting = {task for task in self.node_of if task not in on_slots and task not in self.homeless}
        expected = {task for task in waiting if node is None or self.node_of[task] == node}
        drained = self.scheduler.drain(node)
        assert len(drained) == len(expected)
        assert set(drained) == expected
        for task in drained:
            del self.node_of[task]

    @rule()
    def ask_back(self) -> None:
        for task, slot in self.scheduler.to_take_back():
            assert self.sent[slot][1:] == [task], "only what waits behind another task is asked back"
            assert slot not in self.away, "a slot is asked that cannot answer"
            assert task not in [asked for asked, at in self.asked if at == slot], "it is asked back twice"
            node = self.node_of[task]
            idle = [free for free, held in self.sent.items() if not held and free not in self.away]
            assert any(node in (None, free[0]) for free in idle)
            self.asked.append((task, slot))
        assert self.scheduler.to_take_back() == []

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), agreed=st.booleans(), dropped=st.booleans())
    def answer(self, data: st.DataObject, agreed: bool, dropped: bool) -> None:
        """The answer comes over another socket than results, so anything may have happened in between."""
        task, slot = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        there = task in self.sent.get(slot, ())
        if agreed and there:
            self.sent[slot].remove(task)
            if dropped:
                del self.node_of[task]
                self.take(self.scheduler.drop(task, slot))
                return
        self.take(self.scheduler.taken_back(task, slot, agreed=agreed))

    @invariant()
    def the_books_agree(self) -> None:
        for slot, held in self.sent.items():
            assert list(self.scheduler.held(slot)) == held
            assert len(held) <= 2, "more than one task is ahead"
            assert all(self.scheduler.locate(task) == slot for task in held)
        assert self.scheduler.any_ahead == any(len(held) > 1 for held in self.sent.values())

    @invariant()
    def no_task_is_lost(self) -> None:
        held = sum(map(len, self.sent.values()))
        assert self.scheduler.waiting + held + len(self.homeless) == len(self.node_of)

    @invariant()
    def no_slot_is_idle_beside_a_task_that_it_could_run(self) -> None:
        on_slots = {task for held in self.sent.values() for task in held}
        waiting = [task for task in self.node_of if task not in on_slots and task not in self.homeless]
        for slot, held in self.sent.items():
            if not held and slot not in self.away:
                assert not any(self.may_run(task, slot[0]) for task in waiting)
        for node in range(3):
            assert self.scheduler.in_reach(node) == any(slot[0] == node for slot in set(self.sent) - self.away)

    def teardown(self) -> None:
        """Whatever has happened: with one slot per node everything comes to its end, and nothing is kept of it."""
        for task in self.homeless:
            self.take(self.scheduler.requeue(task, self.node_of[task]))
        self.homeless.clear()
        for slot in list(self.away):
            self.away.remove(slot)
            self.take(self.scheduler.slot_back(slot))
        self.the_head_goes_or_comes(False)
        for node in range(3):
            self.slot_up((node, 0))
        while any(self.sent.values()):
            slot = next(slot for slot, held in self.sent.items() if held)
            task = self.sent[slot].pop(0)
            del self.node_of[task]
            self.take(self.scheduler.finished(task, slot))
        assert not self.node_of
        assert self.scheduler.waiting == 0
        for slot in list(self.sent):
            self.scheduler.slot_down(slot)
        left = {name: value for name, value in vars(self.scheduler).items() if name != "_may_go_ahead" and value}
        assert all(not any(queues.values()) for name, queues in left.items() if name == "_pinned")
        assert set(left) <= {"_pinned"}


TestSchedulerKeepsItsPromises = SchedulerMachine.TestCase
TestSchedulerKeepsItsPromises.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


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
