"""``python -P -m skyward.worker``: one node. Its configuration comes as one line of JSON on standard input.

The line has ``token`` (hex), ``directory``, ``listener`` (number of an inherited listening socket), ``lease`` and
``lifetime`` (seconds or null). Nothing of it stands on the command line or in the environment. Without a listener it
makes the folder and the socket itself, and goes on in the background (:mod:`skyward.worker.detach`).
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from skyward.worker.supervisor import Supervisor


def main() -> None:
    """Read the configuration and serve."""
    settings = json.loads(sys.stdin.readline())
    if settings["listener"] is None:
        from skyward.worker.detach import detach

        settings["listener"] = detach(settings["directory"]).detach()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    status = 1
    try:
        _supervisor(settings).run()
        status = 0
    except BaseException:  # noqa: BLE001  the client reads it in the log
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)  # nothing is left to be finalised, and the client waits


def _supervisor(settings: dict[str, Any]) -> Supervisor:
    return Supervisor(
        listener=socket.socket(fileno=settings["listener"]),
        directory=settings["directory"],
        token=bytes.fromhex(settings["token"]),
        lease=settings["lease"],
        lifetime=settings["lifetime"],
        became=settings.get("became"),
    )


if __name__ == "__main__":
    main()
