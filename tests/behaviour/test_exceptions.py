"""What a task raises arrives as itself."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

import skyward as sky


def text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_a_builtin_exception_is_caught_as_what_it_is(pool: sky.ComputePool, fail: Any) -> None:
    with pytest.raises(ValueError, match=r"^wrong$") as caught:
        fail("wrong") >> pool
    assert type(caught.value) is ValueError
    assert caught.value.args == ("wrong",)


def test_attributes_of_an_exception_are_kept(pool: sky.ComputePool) -> None:
    @sky.compute
    def open_missing() -> None:
        import os

        os.stat("/no/such/file")

    with pytest.raises(FileNotFoundError) as caught:
        open_missing() >> pool
    assert (caught.value.errno, caught.value.filename) == (2, "/no/such/file")


def test_notes_cause_and_context_are_kept(pool: sky.ComputePool) -> None:
    @sky.compute
    def chain() -> None:
        try:
            try:
                dict[str, int]()["missing"]
            except KeyError as error:
                error.add_note("looked in an empty place")
                raise ValueError("no such thing") from error
        except ValueError:
            raise RuntimeError("while handling")  # noqa: B904

    with pytest.raises(RuntimeError) as caught:
        chain() >> pool
    middle = caught.value.__context__
    assert isinstance(middle, ValueError)
    assert isinstance(middle.__cause__, KeyError)
    assert middle.__cause__.__notes__ == ["looked in an empty place"]
    shown = text_of(caught.value)
    assert "The above exception was the direct cause" in shown
    assert "During handling of the above exception" in shown


def test_a_group_arrives_as_a_group(pool: sky.ComputePool) -> None:
    @sky.compute
    def several() -> None:
        raise ExceptionGroup("two", [ValueError("one"), ExceptionGroup("inner", [KeyError("other")])])

    caught: list[BaseException] = []
    try:
        several() >> pool
    except* KeyError as group:
        caught.append(group)
    except* ValueError as group:
        caught.append(group)
    assert len(caught) == 2


def test_the_traceback_shows_the_remote_source(pool: sky.ComputePool) -> None:
    @sky.compute
    def outer() -> None:
        def inner() -> None:
            raise ValueError("deep down")  # the remote line

        inner()

    with pytest.raises(ValueError) as caught:
        outer() >> pool
    shown = text_of(caught.value)
    assert 'raise ValueError("deep down")  # the remote line' in shown
    assert "in inner" in shown
    assert "worker/slot.py" not in shown


def test_sys_exit_in_a_task_does_not_end_the_client_or_the_node(pool: sky.ComputePool, double: Any) -> None:
    @sky.compute
    def leave(code: Any) -> None:
        import sys

        sys.exit(code)

    with pytest.raises(sky.TaskExit, match=r"called sys.exit\(3\)") as caught:
        leave(3) >> pool
    assert caught.value.code == 3
    with pytest.raises(sky.TaskExit, match="sorry"):
        leave("sorry") >> pool
    assert double(1) @ pool == (2, 2)


def test_a_keyboard_interrupt_of_the_tasks_own_is_no_interrupt_of_the_client(pool: sky.ComputePool) -> None:
    @sky.compute
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(sky.TaskError, match="raised KeyboardInterrupt"):
        interrupt() >> pool


def test_an_argument_that_cannot_be_pickled_is_named_by_its_path(pool: sky.ComputePool, listen: Any) -> None:
    import threading

    @sky.compute
    def use(config: Any, **options: Any) -> None: ...

    seen = listen(pool)
    with pytest.raises(sky.SerializationError, match=r"argument 'config'\['model'\]\[1\]: .*lock") as caught:
        use({"model": [0, threading.Lock()]}) >> pool
    assert caught.value.path == "argument 'config'['model'][1]"
    assert isinstance(caught.value, TypeError)
    with pytest.raises(sky.SerializationError, match="argument 'extra'"):
        use(1, extra=threading.Lock()) @ pool
    with pytest.raises(sky.SerializationError, match="argument 'config'"):
        sky.gather(use(1), use(threading.Lock())) >> pool
    assert seen.of(sky.TaskStarted) == []


def test_a_closure_that_cannot_be_pickled_is_named(pool: sky.ComputePool) -> None:
    import threading

    lock = threading.Lock()

    @sky.compute
    def use() -> None:
        lock.acquire()

    with pytest.raises(sky.SerializationError, match=r"'lock' .a variable that use closes over.*create it inside"):
        use() >> pool


def test_a_result_that_cannot_be_pickled_is_named_by_its_path(pool: sky.ComputePool, double: Any) -> None:
    @sky.compute
    def give() -> Any:
        import threading

        return {"fine": 1, "locks": [threading.Lock()]}

    with pytest.raises(sky.SerializationError, match=r"the result of give.*\['locks'\]\[0\]"):
        give() >> pool
    assert double(1) @ pool == (2, 2)


def test_a_generator_as_result_is_refused_with_the_remedy(pool: sky.ComputePool) -> None:
    @sky.compute
    def give() -> Any:
        return (x for x in range(3))

    with pytest.raises(sky.SerializationError, match=r"list\(\.\.\.\)"):
        give() >> pool


def test_a_missing_module_says_how_to_get_it_onto_the_nodes(pool: sky.ComputePool) -> None:
    @sky.compute
    def use() -> None:
        import no_such_library_anywhere  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ModuleNotFoundError) as caught:
        use() >> pool
    assert any("Image(pip=[" in note for note in caught.value.__notes__)


def test_an_exception_that_cannot_be_pickled_whole_still_arrives(pool: sky.ComputePool) -> None:
    @sky.compute
    def give() -> None:
        import threading

        error = ValueError("with a lock", threading.Lock())
        error.extra = threading.Lock()  # type: ignore[attr-defined]
        raise error

    with pytest.raises(ValueError) as caught:
        give() >> pool
    assert caught.value.args[0] == "with a lock"


def test_recursion_without_end_is_an_error_of_the_task_alone(pool: sky.ComputePool, double: Any) -> None:
    @sky.compute
    def recurse() -> int:
        def deeper() -> int:
            return deeper()

        return deeper()

    with pytest.raises(RecursionError):
        recurse() >> pool
    assert double(1) @ pool == (2, 2)


CLASSES = """
    import skyward as sky

    class Broken(Exception):
        def __init__(self, part, *, code):
            super().__init__(f"{part} is broken")
            self.part, self.code = part, code

    class Counter:
        made = 0
        limit = 10

        def __init__(self, start):
            type(self).made += 1
            self.value = start

        def more(self):
            self.value += 1
            return helper(self.value)

    def helper(value):
        return ("helper sees", GLOBAL, value)

    GLOBAL = "before"

    @sky.compute
    def fail():
        raise Broken("wheel", code=7)

    @sky.compute
    def pass_through(counter):
        counter.value += 100
        Counter.limit = -1
        return counter

    @sky.compute
    def make():
        return Counter(5)

    if __name__ == "__main__":
        with sky.ComputePool(PROVIDER, display="quiet") as pool:
            try:
                fail() >> pool
            except Broken as error:
                print(type(error) is Broken, error, error.part, error.code)
            before = Counter.more
            mine = Counter(1)
            GLOBAL = "after"
            Counter.limit = 20
            back = pass_through(mine) >> pool
            print(type(back) is Counter, back is mine, back.value, Counter.limit, Counter.made)
            print(Counter.more is before, back.more())
            made = make() >> pool
            print(isinstance(made, Counter), made.more(), Counter.limit)
            print([type(one) is Counter for one in make() @ pool], Counter.more is before)
"""


def test_classes_of_the_program_keep_their_identity_and_are_left_as_they_are(script: Any) -> None:
    assert script(CLASSES).stdout.splitlines() == [
        "True wheel is broken wheel 7",
        "True False 101 20 1",
        "True ('helper sees', 'after', 102)",
        "True ('helper sees', 'after', 6) 20",
        "[True] True",
    ]


UNCAUGHT = """
    import skyward as sky

    class Broken(Exception): ...

    @sky.compute
    def fail():
        raise Broken("at last")  # said on the node

    with sky.ComputePool(PROVIDER, display="quiet") as pool:
        fail() >> pool
"""


def test_an_uncaught_exception_ends_the_program_with_a_traceback_to_read(script: Any) -> None:
    done = script(UNCAUGHT, check=False)
    assert done.returncode == 1
    assert "fail() >> pool" in done.stderr
    assert 'raise Broken("at last")  # said on the node' in done.stderr
    assert done.stderr.splitlines()[-1].endswith("Broken: at last")
    assert "never dispatched" not in done.stderr


DATACLASSES = """
    import dataclasses, enum
    from typing import NamedTuple
    import skyward as sky

    class Color(enum.Enum):
        RED = 1

    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int
        color: Color = Color.RED

    class Pair(NamedTuple):
        one: Point
        two: Point

    @sky.compute
    def swap(pair):
        assert pair.one.color is Color.RED
        return Pair(pair.two, Point(pair.one.x + 10))

    if __name__ == "__main__":
        with sky.ComputePool(PROVIDER, display="quiet") as pool:
            pair = Pair(Point(1), Point(2))
            back = swap(pair) >> pool
            print(back == Pair(Point(2), Point(11)), type(back) is Pair, back.one.color is Color.RED)
            print(hash(back.one) == hash(Point(2)))
"""


def test_values_of_classes_of_the_program_equal_the_clients_own(script: Any) -> None:
    assert script(DATACLASSES).stdout.splitlines() == ["True True True", "True"]
