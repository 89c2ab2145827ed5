"""What the tests of all packages share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from importlib.util import find_spec

import hypothesis
import pytest

pytest_plugins = ["pytester", "skyward.testing._pytest"]

# The same examples each time, and as long for each as the machine needs: a change is judged by what it changes. To look
# for new ones: `pytest --hypothesis-profile=default`.
hypothesis.settings.register_profile(
    "same",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("same")


def pytest_collection_finish() -> None:
    """What is loaded by now is there to the end: keep it from each search for garbage, of which tests ask for many."""
    gc.collect()
    gc.freeze()


class Require:
    """Parts that a test needs and that not every machine has.

    A missing part skips the test and says which part that is. Under ``CI=true`` it fails instead: there, everything
    that can be installed is, and a skipped test would hide what was not tested. ``ci=False`` is for what cannot be
    installed there, such as hardware: without it the test skips everywhere.
    """

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        environ = dict(os.environ) if environ is None else environ
        self._strict = environ.get("CI", "").lower() in {"1", "true", "yes"}

    def __call__(self, available: object, part: str, *, ci: bool = True) -> None:
        """Go on if ``available`` is true; ``part`` completes the sentence "this test needs ..."."""
        if available:
            return
        if self._strict and ci:
            pytest.fail(f"this test needs {part}, and with CI=true nothing may be missing", pytrace=False)
        pytest.skip(f"this test needs {part}")

    def command(self, name: str, *, ci: bool = True) -> str:
        """The path of the program ``name``."""
        path = shutil.which(name)
        self(path, f"the program {name} on PATH", ci=ci)
        assert path is not None
        return path

    def module(self, name: str, *, ci: bool = True) -> None:
        """Make sure that the module ``name`` can be imported; it is not imported."""
        self(find_spec(name), f"the Python module {name}", ci=ci)


@pytest.fixture(scope="session")
def require() -> Require:
    """``require.command("git")``, ``require(present, "a terminal")``: without it the test skips, or fails in CI."""
    return Require()


@pytest.fixture(autouse=True, scope="session")
def _no_foreign_plugins() -> None:
    """Whatever plugin packages a developer has installed, the tests see skyward alone."""
    from skyward import _plugins

    os.environ["SKYWARD_DISABLE_PLUGINS"] = "1"
    _plugins.forget()  # what test modules have asked for while they were collected


@pytest.fixture(autouse=True, scope="session")
def _events_are_there_when_a_call_returns() -> None:
    """A call waits a moment for callbacks that are slow; on a busy machine all of them may be, without any fault."""
    from skyward import _events

    _events.PATIENCE = 60.0


@pytest.fixture(autouse=True, scope="session")
def _signals_as_in_a_terminal() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would every program that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
