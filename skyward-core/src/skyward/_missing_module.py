"""The remedy for a module that a node does not have."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig

_KNOWN = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Common modules whose distribution has another name, for clients that do not have it installed either."""


def add_remedy(exc: BaseException, node: int) -> None:
    """Note on ``exc``, and on its causes, which package a ``ModuleNotFoundError`` asks for.

    Nothing is noted where no package would help: a submodule of something that is there, a module of the standard
    library, or a file of the user's own.
    """
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, ModuleNotFoundError) and current.name:
            package = package_of(current.name)
            if package is not None:
                text = f"{current.name!r} is not installed on node {node}: add it to the pool's image, "
                BaseException.add_note(current, f"{text}image=sky.Image(pip=[{package!r}])")
        current = current.__cause__


def package_of(module: str) -> str | None:
    """The distribution that provides the top-level ``module``, or ``None`` if installing is not the remedy."""
    if "." in module or module in sys.stdlib_module_names:
        return None
    from importlib.metadata import packages_distributions

    distributions = packages_distributions().get(module)
    if distributions:
        return distributions[0]
    return None if _is_local(module) else _KNOWN.get(module, module)


def _is_local(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return module in sys.modules
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
    installed = tuple(sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib"))
    return bool(places) and not any(str(place).startswith(installed) for place in places)
