"""A grid search over three families of estimators at once, for the one that reads handwritten digits best.

python examples/grid_search.py
python examples/grid_search.py --provider aws --nodes 4 --picture scores.png
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _provider import parser, pool, start

import skyward as sky

FOLDS = 3
FAMILIES = {"SVC": "support vectors", "RandomForestClassifier": "random forest", "LogisticRegression": "logistic"}


def search() -> Any:
    """One search: the step ``model`` of a pipeline is itself one of the things to choose."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.svm import SVC

    steps = Pipeline([("scale", MinMaxScaler()), ("model", SVC())])
    grids = [
        {"model": [SVC()], "model__C": [0.1, 1, 10, 100], "model__gamma": [0.01, 0.1, 1.0]},
        {
            "model": [RandomForestClassifier(random_state=0)],
            "model__n_estimators": [10, 25, 50],
            "model__max_depth": [8, None],
        },
        {"model": [LogisticRegression(max_iter=500)], "model__C": [0.01, 0.1, 1, 10]},
    ]
    return GridSearchCV(steps, grids, cv=FOLDS, n_jobs=-1, verbose=3)  # with verbose=3 each fit prints a line


class Fits:
    """A progress bar on standard error. It moves with each line that scikit-learn prints on a node about a fit."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False)
        self.task, self.total = self.bar.add_task("fits", total=total), total

    def __call__(self, event: sky.LogLine) -> None:
        """Called by the pool with each line of output."""
        if event.line.startswith("[CV ") and "] END " in event.line:
            self.bar.advance(self.task)

    def all_done(self) -> None:
        """The search has ended; the last lines may still be on their way."""
        self.bar.update(self.task, completed=self.total)


def main(arguments: Sequence[str] | None = None) -> Any:
    """Search on the nodes, tell what was found, and draw it."""
    options = parser("Search for the best estimator of handwritten digits.")
    options.add_argument("--picture", type=Path, default=Path("grid_search.png"), help="where the scores are drawn")
    options.set_defaults(display="quiet")  # the lines of the nodes move the bar, instead of being shown
    chosen = options.parse_args(arguments)
    from sklearn.datasets import load_digits
    from sklearn.model_selection import ParameterGrid

    images, digits = load_digits(return_X_y=True)
    asked = search()
    fits = Fits(FOLDS * len(ParameterGrid(asked.param_grid)))
    begun = time.perf_counter()
    with pool(chosen, sky.integrations.ScikitLearnPool) as nodes:
        ready = time.perf_counter()
        nodes.on(sky.LogLine, fits)
        with fits.bar:
            asked.fit(images, digits)
            fits.all_done()
        ended = time.perf_counter()

    results = asked.cv_results_
    candidates = len(results["params"])
    print(f"{candidates} candidates, {FOLDS} folds, {len(images):,} pictures of digits, {chosen.nodes} nodes:")
    print(f"  {candidates * FOLDS} fits in {ended - ready:.1f} s; the nodes were there after {ready - begun:.1f} s.")
    print(f"  Added up, the fits and their scores took {total_seconds(results):.1f} s.")
    print()
    for line in table(results):
        print(line)
    draw(results, chosen.picture)
    print()
    print(f"All of them are drawn in {chosen.picture}.")
    return asked


def total_seconds(results: dict[str, Any]) -> float:
    """What all fits and their scores have taken, added up."""
    return float(FOLDS * (results["mean_fit_time"] + results["mean_score_time"]).sum())


def by_family(results: dict[str, Any]) -> dict[str, list[int]]:
    """The places of each family's candidates in the results, best first."""
    found: dict[str, list[int]] = {family: [] for family in FAMILIES}
    for place in results["rank_test_score"].argsort(kind="stable"):
        found[type(results["params"][place]["model"]).__name__].append(int(place))
    return found


def table(results: dict[str, Any]) -> list[str]:
    """The best candidate of each family, best first."""
    score, spread, fit = (results[name] for name in ("mean_test_score", "std_test_score", "mean_fit_time"))
    best = sorted((places[0] for places in by_family(results).values()), key=lambda place: -score[place])
    lines = ["accuracy         a fit    the best of its family"]
    for place in best:
        chosen = dict(results["params"][place])
        family = FAMILIES[type(chosen.pop("model")).__name__]
        how = ", ".join(f"{name.removeprefix('model__')}={value}" for name, value in chosen.items())
        lines.append(f"{score[place]:.3f} +- {spread[place]:.3f}  {fit[place]:5.2f} s  {family}: {how}")
    return lines


def draw(results: dict[str, Any], path: Path) -> None:
    """Each candidate as a point: how long a fit took, and how well it did on the pictures that it was not shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever is set up here
    axes = figure.add_subplot()
    score, spread, fit = (results[name] for name in ("mean_test_score", "std_test_score", "mean_fit_time"))
    for (family, places), marker in zip(by_family(results).items(), "os^", strict=True):
        axes.errorbar(fit[places], score[places], spread[places], fmt=marker, capsize=2, label=FAMILIES[family])
    best = int(results["rank_test_score"].argmin())
    axes.annotate(f"{score[best]:.3f}", (fit[best], score[best]), (4, 6), textcoords="offset points")
    axes.set(xscale="log", xlabel="seconds for a fit", ylabel=f"accuracy, mean of {FOLDS} folds")
    axes.set_title("Handwritten digits: every candidate of the search")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    start(main)
