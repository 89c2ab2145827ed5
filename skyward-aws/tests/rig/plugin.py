"""Stands for `session-manager-plugin`: joins its standard streams to an instance, as the session says.

    plugin.py --version
    plugin.py RESPONSE REGION StartSession PROFILE REQUEST ENDPOINT

RESPONSE is the answer to StartSession, or the name of the environment variable that holds it. As with the real one,
words of its own stand before what the instance says, and the variable is forgotten.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from urllib.parse import urlsplit

VERSION = "1.2.707.0"


def main(response: str, region: str, operation: str, _profile: str, request: str, endpoint: str) -> None:
    assert region
    assert operation == "StartSession"
    assert endpoint.startswith("http")
    named = response.startswith("AWS_SSM_START_SESSION_RESPONSE")
    session = json.loads(os.environ.pop(response) if named else response)
    assert session["TokenValue"]
    assert json.loads(request)["Target"]
    print(f"\nStarting session with SessionId: {session['SessionId']}", flush=True)
    place = urlsplit(session["StreamUrl"])
    assert place.hostname
    with socket.create_connection((place.hostname, place.port or 22)) as road:
        threading.Thread(target=_in, args=(road,), daemon=True).start()
        while data := road.recv(65536):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    os._exit(0)


def _in(road: socket.socket) -> None:
    while data := os.read(0, 65536):
        road.sendall(data)
    road.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        print(VERSION)
    else:
        main(*sys.argv[1:])
