"""Modules beside the program travel to the nodes with the functions that use them."""

from __future__ import annotations

from typing import Any

MAIN = """
    import skyward as sky
    import helper
    from package import area
    from package.inner.deep import TEXT

    @sky.compute
    def use(x):
        import late
        return helper.twice(x), area.of(x), TEXT, late.NAME, __name__

    @sky.compute
    def file_of_helper():
        import inspect
        return helper.__file__.endswith("helper.py"), "def twice" in inspect.getsource(helper)

    if __name__ == "__main__":
        with sky.ComputePool(PROVIDER, nodes=2, display="quiet") as pool:
            print(use(4) >> pool)
            print(use(5) @ pool)
            print(file_of_helper() >> pool)
            print(sky.gather(helper.cube(2), area.remote(3)) >> pool)
            try:
                helper.fail() >> pool
            except helper.Wrong as error:
                print("caught", error)
"""
FILES = {
    "helper": """
        import skyward as sky
        import second

        class Wrong(Exception): ...

        def twice(x):
            return second.add(x, x)

        @sky.compute
        def cube(x):
            return x ** 3

        @sky.compute
        def fail():
            raise Wrong("by name")
    """,
    "second": "def add(a, b): return a + b",
    "late": "NAME = 'imported late'",
    "package__in____init__": "",
    "package__in__area": """
        import skyward as sky
        from .inner import deep

        def of(x):
            return len(deep.TEXT) * x

        @sky.compute
        def remote(x):
            return of(x)
    """,
    "package__in__inner__in____init__": "",
    "package__in__inner__in__deep": "TEXT = 'deep'",
}


def test_helper_modules_and_packages_are_there_without_being_listed(script: Any) -> None:
    assert script(MAIN, **FILES).stdout.splitlines() == [
        "(8, 16, 'deep', 'imported late', '__main__')",
        "((10, 20, 'deep', 'imported late', '__main__'), (10, 20, 'deep', 'imported late', '__main__'))",
        "(True, True)",
        "(8, 12)",
        "caught by name",
    ]


CHANGED = """
    import importlib, pathlib
    import skyward as sky
    import helper

    @sky.compute
    def read():
        return helper.VALUE

    with sky.ComputePool(PROVIDER, display="quiet") as pool:
        print(read() >> pool)
        pathlib.Path(helper.__file__).write_text("VALUE = 'the second, and longer'")
        importlib.invalidate_caches()
        importlib.reload(helper)
        print(read() >> pool, helper.VALUE)
"""


def test_a_module_that_is_changed_and_reloaded_is_sent_anew(script: Any) -> None:
    done = script(CHANGED, helper="VALUE = 'first'")
    assert done.stdout.splitlines() == ["first", "the second, and longer the second, and longer"]


ARGUMENT = """
    import skyward as sky
    import shapes

    @sky.compute
    def area(shape):
        return shape.area()

    @sky.compute
    def make(name):
        import importlib
        return importlib.import_module("shapes").Square(3)

    with sky.ComputePool(PROVIDER, display="quiet") as pool:
        print(area(shapes.Square(4)) >> pool)
        back = make("shapes") >> pool
        print(type(back) is shapes.Square, back.area())
"""


def test_the_modules_of_arguments_and_results_travel_too(script: Any) -> None:
    shapes = """
        class Square:
            def __init__(self, side):
                self.side = side

            def area(self):
                return self.side ** 2
    """
    assert script(ARGUMENT, shapes=shapes).stdout.splitlines() == ["16", "True 9"]
