"""The first process of a container that stands for an instance. Runs there, with the standard library alone.

    machine.py                   boot by /mnt/rig/boot.json, and stay until the machine is shut down
    machine.py shutdown -h now   what `shutdown`, `poweroff` and `halt` are there

It has the metadata service of an instance at 169.254.169.254 (version 2: a token is asked for), which serves the files
below /mnt/rig/imds, so what is written there outside is seen inside.
"""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import pwd
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

RIG = Path("/mnt/rig")
END = Path("/run/rig-end")
"""Holds when the machine ends, by the clock that nobody sets."""

SSHD = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
Subsystem sftp internal-sftp
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def main(arguments: list[str]) -> int:
    if arguments:
        return shut_down(arguments)
    if child := os.fork():
        while True:  # the first process of a machine is there for orphans
            pid, status = os.wait()
            if pid == child:
                return os.waitstatus_to_exitcode(status)
    return boot(json.loads((RIG / "boot.json").read_text()))


def boot(asked: dict[str, Any]) -> int:
    serve_metadata()
    for name, text in asked["host_keys"].items():
        write(Path("/etc/ssh", name), text, 0o644 if name.endswith(".pub") else 0o600)
    subprocess.run(["ssh-keygen", "-q", "-A"], check=True)  # those that are missing
    for user in ("ubuntu", *(("root",) if asked["root"] else ())):
        authorize(user, asked["authorized"])
    for file in asked["files"]:
        write(Path(file["path"]), file["content"], int(file["mode"], 8))
        shutil.chown(file["path"], *file["owner"].split(":"))
    run_all(asked["early"])
    write(Path("/etc/ssh/sshd_config"), SSHD, 0o644)
    Path("/run/sshd").mkdir(exist_ok=True)
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-e"])
    threading.Thread(target=run_all, args=(asked["late"],), daemon=True).start()
    while not (END.exists() and time.monotonic() >= float(END.read_text() or "inf")):
        time.sleep(0.1)
    print("machine: shut down", flush=True)
    return 0


def write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(text)
    path.chmod(mode)


def authorize(user: str, keys: list[str]) -> None:
    entry = pwd.getpwnam(user)
    path = Path(entry.pw_dir, ".ssh/authorized_keys")
    write(path, "".join(f"{key.strip()}\n" for key in keys), 0o600)
    for each, mode in ((path.parent, 0o700), (path, 0o600)):
        each.chmod(mode)
        os.chown(each, entry.pw_uid, entry.pw_gid)


def run_all(scripts: list[str]) -> None:
    for script in scripts:
        path = Path("/var/lib/rig", secrets.token_hex(4))
        write(path, script, 0o700)
        command = [str(path)] if script.startswith("#!") else ["/bin/sh", str(path)]
        print(f"machine: a script of the user data ended with {subprocess.run(command).returncode}", flush=True)


class Metadata(http.server.BaseHTTPRequestHandler):
    """The part of the metadata service that is files, and the tokens without which it says nothing."""

    tokens: ClassVar[set[str]] = set()

    def do_PUT(self) -> None:
        if self.path != "/latest/api/token" or not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            return self.say(400, b"")
        self.tokens.add(token := secrets.token_urlsafe(24))
        name = "X-aws-ec2-metadata-token-ttl-seconds"
        return self.say(200, token.encode(), {name: self.headers[name]})

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.tokens:
            return self.say(401, b"")
        path = RIG / "imds" / self.path.removeprefix("/latest/").strip("/")
        if path.is_dir():
            names = (f"{each.name}/" if each.is_dir() else each.name for each in sorted(path.iterdir()))
            return self.say(200, "\n".join(names).encode())
        return self.say(200, path.read_bytes()) if path.is_file() else self.say(404, b"")

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve_metadata() -> None:
    address = "169.254.169.254"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH2s4s8s", b"lo:1", socket.AF_INET, b"", socket.inet_aton(address), b"")
        fcntl.ioctl(control, 0x8916, request)  # SIOCSIFADDR
    server = http.server.ThreadingHTTPServer((address, 80), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def shut_down(arguments: list[str]) -> int:
    """``shutdown [-h|-P|-H|-c] [now|+MINUTES]``, ``poweroff``, ``halt``: what a switch in a machine may use."""
    name, *rest = arguments
    if os.geteuid():
        print(f"{name}: only root may do that", file=sys.stderr)
        return 1
    if "-c" in rest:
        END.unlink(missing_ok=True)
        return 0
    times = [each for each in rest if not each.startswith("-")]
    when = times[0] if times else "+1" if name == "shutdown" else "now"
    if "-r" in rest or not (when == "now" or when.removeprefix("+").isdigit()):
        print(f"{name}: this machine cannot do {' '.join(rest)}", file=sys.stderr)
        return 1
    minutes = 0 if when == "now" else int(when.removeprefix("+"))
    new = END.with_suffix(".new")
    new.write_text(str(time.monotonic() + 60 * minutes))
    new.rename(END)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
