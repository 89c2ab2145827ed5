"""The word of a client: by it another one on the same host tells whether it still lives."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from skyward._client import client_lives, this_client

ANOTHER = "from skyward._client import this_client; print(this_client(), flush=True); input()"


def test_a_living_client_is_never_taken_for_dead_and_a_killed_one_is_though_nobody_has_waited_for_it() -> None:
    assert client_lives(this_client())
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        word = process.stdout.readline().strip()
        assert client_lives(word)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert client_lives(word) is False
    assert client_lives(word) is False


def test_a_process_that_got_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    place, process, started = this_client().split("-")
    assert client_lives(f"{place}-{process}-{int(started) - 1}") is False


def test_of_clients_elsewhere_nothing_is_known() -> None:
    place, process, started = this_client().split("-")
    elsewhere = place[::-1] if place[::-1] != place else "0" * 12
    for word in ("", "odd", f"{elsewhere}-{process}-{int(started) - 1}", f"{place}-{process}-", f"{place}-x-1"):
        assert client_lives(word) is None, word


def test_a_word_can_be_a_label_of_any_cloud() -> None:
    assert re.fullmatch(r"[0-9a-f][0-9a-z-]{1,61}[0-9a-z]", this_client())
    assert this_client() == this_client()
