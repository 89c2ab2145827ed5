"""Core's dead man's switch on a machine as it is rented: a real SSH server, a user with sudo, nothing installed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from attrs import evolve

from skyward.model.first_boot import NODE_FOLDER, first_boot_script
from skyward.model.image import Image

from .bare import DEBIAN
from .bare import make_bare as make_bare
from .conftest import until

LEASE = 15.0
"""Seconds. Making the machine ready takes longer, since a command that is called twice for it does."""

_SLOW = """
printf '#!/bin/sh\\necho "$*" >>/shutdowns\\n' >/usr/local/sbin/shutdown
printf '#!/bin/sh\\nsleep 8\\nexec /usr/bin/sha256sum "$@"\\n' >/usr/local/bin/sha256sum
chmod 755 /usr/local/sbin/shutdown /usr/local/bin/sha256sum
"""


@pytest.mark.slow
def test_a_machine_lives_while_its_client_makes_it_ready_and_ends_itself_without_one(make_bare: Any) -> None:
    machine = make_bare(DEBIAN, bare=False)
    machine.sh(_SLOW)
    machine.identity = evolve(machine.identity, lease=LEASE)
    machine.sh(first_boot_script(lifetime=600, lease=LEASE, user="admin"))

    def ended() -> str:
        return str(machine.sh("cat /shutdowns 2>/dev/null || true"))

    begun = time.monotonic()
    machine.becomes_a_node(Image(), "admin", folder=NODE_FOLDER)
    assert not ended()
    assert time.monotonic() - begun > LEASE, "it was ready too soon to tell"
    assert machine.sh(f"stat -c %U {NODE_FOLDER} /run/skyward/word").split() == ["admin", "admin"]
    until(ended)  # its supervisor has ended by the lease, and it with that
    assert ended().startswith("-h now")
    assert machine.sh(f"ls {NODE_FOLDER} 2>/dev/null || true") == ""
