"""Going on as a supervisor under another interpreter: same process, same socket, same deadline."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn

__all__ = ["become"]


def become(
    configuration: Mapping[str, Any],
    *,
    token: bytes,
    directory: str,
    listener: int,
    lease: float | None,
    lifetime: float | None,
) -> NoReturn:
    """Put the interpreter that the configuration names in the place of this one.

    The client sees its connection end, connects again and sends the configuration once more. The other parameters are
    the supervisor's; ``listener`` is the socket's descriptor.
    """
    settings = {
        "token": token.hex(),
        "directory": directory,
        "listener": listener,
        "lease": lease,
        "lifetime": lifetime,
        "became": configuration["python"],
    }
    read, write = os.pipe()
    os.write(write, json.dumps(settings).encode() + b"\n")
    os.close(write)
    os.dup2(read, 0)
    os.set_inheritable(listener, True)
    python, front, back = (configuration[name] for name in ("python", "front", "back"))
    paths = f"sys.path[:0] = {front!r}; sys.path += {back!r}"
    program = f"import sys; {paths}; from skyward.worker.__main__ import main; main()"
    os.execv(python, [python, "-P", "-c", program])  # noqa: S606  the interpreter that the client names
