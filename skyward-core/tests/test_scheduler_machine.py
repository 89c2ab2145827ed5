"""The scheduler under random events: what holds after each of them."""

from __future__ import annotations

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
        self.gangs: dict[int, dict[SlotKey, int]] = {}  # those that wait, by their numbers
        self.whole: set[int] = set()  # tasks of gangs that were sent

    def gather(self) -> None:
        """As the dispatcher does after each event; what is sent of a gang is sent as a whole, in its turn."""
        sent = self.scheduler.gather()
        for assignment in sent:
            gang = next((gang for gang, tasks in self.gangs.items() if assignment.task in tasks.values()), None)
            if gang is not None:
                assert gang == min(self.gangs), "a gang goes before one that came earlier"
                tasks = self.gangs.pop(gang)
                assert all(not self.sent[slot] for slot in tasks), "a gang begins on a slot that is busy"
                assert set(tasks.values()) <= {each.task for each in sent}, "only a part of a gang is sent"
                self.whole.update(tasks.values())
                for slot, task in tasks.items():
                    assert Assignment(task, slot, False) in sent, "a task of a gang is sent to another slot"
            self.take(assignment)

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
        assert not ahead or held[0] not in self.whole, "a task is sent ahead behind one of a gang"
        assert not any(task in tasks.values() for tasks in self.gangs.values()), "a task of a gang is sent alone"
        held.append(task)

    def may_run(self, task: int, node: int) -> bool:
        if task in self.whole:
            return True
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

    @rule(slots=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4))
    def submit_together(self, slots: set[SlotKey]) -> None:
        tasks = {slot: self.new(slot[0], slow=False) for slot in sorted(slots)}
        gang = self.scheduler.submit_together(tasks)
        assert all(gang > other for other in self.gangs)
        self.gangs[gang] = tasks

    @precondition(lambda self: self.gangs)
    @rule(data=st.data())
    def withdraw_together(self, data: st.DataObject) -> None:
        gang = data.draw(st.sampled_from(sorted(self.gangs)))
        assert self.scheduler.withdraw_together(gang)
        assert not self.scheduler.withdraw_together(gang)
        for task in self.gangs.pop(gang).values():
            del self.node_of[task]

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
        waits = waits and not any(task in tasks.values() for tasks in self.gangs.values())
        assert self.scheduler.withdraw(task) == waits
        assert not self.scheduler.withdraw(task)
        if waits:
            del self.node_of[task]

    @rule(node=st.none() | st.integers(0, 2))
    def drain(self, node: int | None) -> None:
        on_slots = {task for held in self.sent.values() for task in held}
        waiting = {task for task in self.node_of if task not in on_slots and task not in self.homeless}
        expected = {task for task in waiting if node is None or self.node_of[task] == node}
        for gang, tasks in list(self.gangs.items()):
            expected.difference_update(tasks.values())
            if node is None or any(slot[0] == node for slot in tasks):
                expected.update(tasks.values())
                del self.gangs[gang]
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
    def all_is_gathered(self) -> None:
        """First of the invariants, which are looked at by their names: as the dispatcher does after each event."""
        self.gather()
        assert self.scheduler.gathers == bool(self.gangs), "slots are kept for nobody"

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
        gang = min(self.gangs, default=None)
        tasks = {} if gang is None else self.gangs[gang]
        together = {task for tasks in self.gangs.values() for task in tasks.values()}
        whole = tasks and all(slot in self.sent and slot not in self.away for slot in tasks)
        for slot, held in self.sent.items():
            if held or slot in self.away:
                continue
            runnable = [task for task in waiting if task not in together and self.may_run(task, slot[0])]
            if gang is None:
                assert not runnable
            elif not whole:
                assert all(self.node_of[task] is not None for task in runnable), "a single task waits for a gang"
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
        wanted = {slot for tasks in self.gangs.values() for slot in tasks}
        for slot in sorted({(node, 0) for node in range(3)} | wanted):
            self.slot_up(slot)
        self.gather()
        while any(self.sent.values()):
            slot = next(slot for slot, held in self.sent.items() if held)
            task = self.sent[slot].pop(0)
            del self.node_of[task]
            self.take(self.scheduler.finished(task, slot))
            self.gather()
        assert not self.node_of
        assert self.scheduler.waiting == 0
        for slot in list(self.sent):
            self.scheduler.slot_down(slot)
        left = {name: value for name, value in vars(self.scheduler).items() if name != "_may_go_ahead" and value}
        assert all(not any(queues.values()) for name, queues in left.items() if name == "_pinned")
        assert not self.scheduler.gathers
        assert set(left) <= {"_pinned"}


TestSchedulerKeepsItsPromises = SchedulerMachine.TestCase
TestSchedulerKeepsItsPromises.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
