"""Tasks that begin together: whoever waits for whom on the slots, all come to their end, and in their turn."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from skyward._scheduler import Assignment, Scheduler, SlotKey

SLOTS = [(node, slot) for node in range(2) for slot in range(2)]


class Cluster:
    """Two nodes of two slots, whose calls are broadcasts, gangs and single tasks.

    A copy of a broadcast, and a task of a gang, ends only once all of its call have begun: as if they waited for each
    other. A node that is lost takes its tasks with it, with which their calls end, and comes back.
    """

    def __init__(self) -> None:
        self.scheduler = Scheduler(lambda _: False)
        self.running: dict[int, SlotKey] = {}
        self.calls: list[tuple[str, set[int], set[int]]] = []  # kind, those that wait, those that run
        self.gangs: dict[int, set[int]] = {}
        self.down: set[int] = set()
        self.numbers = iter(range(10**6))
        self.begun: list[str] = []
        for slot in SLOTS:
            self.scheduler.slot_up(slot)

    def take(self, assignments: list[Assignment | None]) -> None:
        for each in [*assignments, *self.scheduler.gather()]:
            if each is None:
                continue
            assert each.slot[0] not in self.down
            assert each.slot not in self.running.values()
            self.running[each.task] = each.slot
            for kind, waiting, running in self.calls:
                if each.task in waiting:
                    waiting.remove(each.task)
                    running.add(each.task)
                    self.begun.append(kind)

    def submit(self, kind: str) -> None:
        if kind == "gang":
            tasks = {slot: next(self.numbers) for slot in SLOTS}
            self.calls.append((kind, set(tasks.values()), set()))
            self.scheduler.submit_together(tasks)
            self.take([])
            return
        numbers = [next(self.numbers) for _ in range(2 if kind == "broadcast" else 1)]
        self.calls.append((kind, set(numbers), set()))
        for node, number in enumerate(numbers):
            self.take([self.scheduler.submit(number, node if kind == "broadcast" else None)])

    def end(self, call: tuple[str, set[int], set[int]]) -> None:
        self.calls.remove(call)
        for number in call[2]:
            self.take([self.scheduler.finished(number, self.running.pop(number))])

    def lose(self, node: int) -> None:
        if node in self.down:
            return
        self.down.add(node)
        dead: set[int] = set()
        for slot in SLOTS:
            if slot[0] == node:
                dead |= set(self.scheduler.slot_down(slot))
        self.take([*self.scheduler.headless(missing=0 in self.down)])
        for number in dead:
            del self.running[number]
        for call in list(self.calls):
            if call[2] & dead:  # the rest of it is stopped, where it runs and where it waits
                call[2].difference_update(dead)
                for number in call[1]:
                    assert self.scheduler.withdraw(number)
                self.end(call)

    def mend(self, node: int) -> None:
        if node in self.down:
            self.down.remove(node)
            for slot in SLOTS:
                if slot[0] == node:
                    self.take([self.scheduler.slot_up(slot)])
            self.take([*self.scheduler.headless(missing=0 in self.down)])

    def step(self) -> bool:
        """End the first call that has wholly begun; False when there is none."""
        for call in self.calls:
            if not call[1]:
                self.end(call)
                return True
        return False


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(
        st.sampled_from(["gang", "broadcast", "single", "step", "lose 0", "lose 1", "mend 0", "mend 1"]), max_size=40
    )
)
def test_broadcasts_and_gangs_that_wait_for_their_own_never_wait_for_each_other_for_ever(events: list[str]) -> None:
    cluster = Cluster()
    for event in events:
        what, _, node = event.partition(" ")
        if what == "step":
            cluster.step()
        elif node:
            getattr(cluster, what)(int(node))
        else:
            cluster.submit(what)
    for each in range(2):
        cluster.mend(each)
    while cluster.step():
        pass
    assert not cluster.calls, "calls wait for each other"
    assert not cluster.running
    assert not cluster.scheduler.gathers


def test_two_gangs_run_one_after_the_other_and_single_tasks_between_them_in_their_turn() -> None:
    cluster = Cluster()
    for kind in ("single", "gang", "single", "gang", "single"):
        cluster.submit(kind)
    assert cluster.begun == ["single"], "the slot that is busy is waited for, and the others are kept free"
    while cluster.step():
        pass
    assert cluster.begun == ["single", *["gang"] * 4, "single", *["gang"] * 4, "single"]


def test_while_a_node_is_being_replaced_single_tasks_go_on_and_broadcasts_wait_behind_the_gang() -> None:
    cluster = Cluster()
    cluster.lose(1)
    for kind in ("gang", "broadcast", "single"):
        cluster.submit(kind)
    assert cluster.begun == ["single"]
    cluster.step()
    cluster.mend(1)
    assert cluster.begun == ["single", *["gang"] * 4]


def test_a_gang_that_is_withdrawn_leaves_its_slots_to_what_waited_behind_it() -> None:
    scheduler = Scheduler(lambda _: False)
    for slot in SLOTS[:2]:
        scheduler.slot_up(slot)
    assert scheduler.submit(1) is not None
    gang = scheduler.submit_together(dict(zip(SLOTS[:2], (2, 3), strict=True)))
    assert scheduler.gather() == []
    assert scheduler.submit(4) is None
    assert scheduler.withdraw_together(gang)
    assert scheduler.gather() == [Assignment(4, (0, 1), False)]
    assert not scheduler.gathers


def test_nothing_is_sent_ahead_behind_a_task_of_a_gang() -> None:
    scheduler = Scheduler()
    scheduler.slot_up((0, 0))
    scheduler.submit_together({(0, 0): 1})
    assert scheduler.gather() == [Assignment(1, (0, 0), False)]
    assert scheduler.submit(2) is None
    scheduler.slot_away((0, 0))
    assert scheduler.slot_back((0, 0)) is None
    assert scheduler.finished(1, (0, 0)) == Assignment(2, (0, 0), False)


def test_a_task_that_has_to_run_again_goes_before_a_gang_that_waits() -> None:
    scheduler = Scheduler(lambda _: False)
    for slot in SLOTS[:2]:
        scheduler.slot_up(slot)
    for task in (1, 2):
        scheduler.submit(task)
    scheduler.submit_together(dict(zip(SLOTS[:2], (3, 4), strict=True)))
    assert scheduler.gather() == []
    assert scheduler.finished(2, (0, 1)) is None, "it is kept for the gang"
    assert scheduler.slot_down((0, 0)) == [1]
    assert scheduler.requeue(1, None) == Assignment(1, (0, 1), False)
