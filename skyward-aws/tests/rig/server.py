"""Moto's server as a process of its own: ``python server.py FOLDER LABEL``. Prints its port; ends with its input.
With ``--sweep-only`` behind it there is no server.

FOLDER is the rig's own, with the machine images that there are in ``images.json``; LABEL is what its containers are
marked with. Whatever of both is still there when the input ends is removed, so that nothing stays when the tests' own
process is killed.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys


def sweep(label: str) -> None:
    """Remove containers, then networks, by their label."""
    mine = ("--filter", f"label={label}", "--format")
    for what, command in (("{{.Names}}", ("ps", "--all")), ("{{.Name}}", ("network", "ls"))):
        found = subprocess.run(("podman", *command, *mine, what), capture_output=True, text=True).stdout.split()
        remove = ("network", "rm", "--force") if command[0] == "network" else ("rm", "--force", "--time", "0")
        if found:
            subprocess.run(("podman", *remove, *found), capture_output=True)


def main(folder: str, label: str) -> None:
    """Serve until the input ends."""
    os.environ.update(
        MOTO_AMIS_PATH=os.path.join(folder, "images.json"),
        MOTO_ENABLE_AMI_VALIDATION="1",
        MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="1",
        MOTO_ENABLE_KEYPAIR_VALIDATION="1",
    )
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    outlive(folder, label)


def outlive(folder: str, label: str) -> None:
    """Wait for the end of the input, remove what is left, and end."""
    sys.stdin.read()
    if label:
        sweep(label)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    (outlive if "--sweep-only" in sys.argv else main)(*sys.argv[1:3])
