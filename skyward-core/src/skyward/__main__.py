"""``python -m skyward``: the command ``skyward``."""

from __future__ import annotations

import sys

from skyward._cli import main

if __name__ == "__main__":
    sys.exit(main())
