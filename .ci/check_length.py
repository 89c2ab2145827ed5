"""Refuses Python files that are longer than a reader can keep in mind.

    python .ci/check_length.py [FOLDER]

Looks at what git tracks or would track below FOLDER (default: the repository). Exits with 1 and names each culprit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIMIT = 400


def python_files(root: Path) -> list[Path]:
    """Every ``*.py`` below ``root`` that is tracked, or new and not ignored."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.py"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(path for name in names if name and (path := root / name).is_file())


def too_long(root: Path, limit: int = LIMIT) -> list[tuple[Path, int]]:
    """The files with more than ``limit`` lines, with their number of lines."""
    lengths = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in python_files(root))
    return [(path, length) for path, length in lengths if length > limit]


def main(arguments: list[str]) -> int:
    """Print the culprits below the folder that ``arguments`` name; 1 if there are any, else 0."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    culprits = too_long(root)
    for path, length in culprits:
        print(f"{path.relative_to(root)}: {length} lines, {LIMIT} are allowed: part it by subject")
    return 1 if culprits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
