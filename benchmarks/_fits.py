"""The searches that are measured."""

from __future__ import annotations

import contextlib
import json
import sys
from time import perf_counter
from typing import Any

ALONE, LOKY, SKYWARD = "one process", "loky", "skyward"
PROGRAM = "from benchmarks._fits import program; program()"


def search() -> Any:
    """48 fits of a support vector machine: 12 candidates, 4 folds."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    return GridSearchCV(SVC(), {"C": [0.1, 1, 10, 100], "gamma": [1e-4, 1e-3, 1e-2]}, cv=4, n_jobs=2)


def wide_search(fits: int) -> Any:
    """So many fits, a multiple of 3, of what hardly looks at its data."""
    from sklearn.dummy import DummyClassifier
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(DummyClassifier(strategy="uniform"), {"random_state": range(fits // 3)}, cv=3, n_jobs=2)


def program() -> None:
    """Search twice, by the name in the first argument, and print how long it took, in seconds, as JSON.

    ``cold``: with the start of the workers; ``fit``: without entering the block; ``warm``: the second time.
    """
    from sklearn.datasets import load_digits

    import skyward as sky

    images, digits = load_digits(return_X_y=True)
    name = sys.argv[1]
    asked = search().set_params(n_jobs=1 if name == ALONE else 2)
    with contextlib.ExitStack() as stack:
        begun = perf_counter()
        if name == SKYWARD:
            stack.enter_context(sky.integrations.ScikitLearnPool(nodes=2, display="quiet"))
        entered = perf_counter()
        asked.fit(images, digits)
        ended = perf_counter()
        asked.fit(images, digits)
        taken = {"cold": ended - begun, "fit": ended - entered, "warm": perf_counter() - ended}
    print(json.dumps(taken))
