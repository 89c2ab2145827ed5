"""What user data asks of a machine at its first boot: the part of cloud-init that the rig honours. Pure."""

from __future__ import annotations

import email
import gzip
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from attrs import define, field

__all__ = ["Boot", "boot"]

IDLE = {
    "disable_root_opts", "growpart", "hostname", "locale", "manage_etc_hosts", "no_ssh_fingerprints", "output",
    "package_update", "package_upgrade", "preserve_hostname", "resize_rootfs", "ssh_genkeytypes", "ssh_pwauth",
    "ssh_quiet_keygen", "timezone",
}  # fmt: skip
"""Keys of a cloud-config that change nothing that a test could see here."""


@define
class Boot:
    """What is done at the boot, in this order: keys, files, ``early``, the SSH server, ``late``."""

    host_keys: dict[str, str] = field(factory=dict)
    """Files below /etc/ssh and their text; where there are none, keys are made."""
    authorized: list[str] = field(factory=list)
    """Public keys of the user ``ubuntu``."""
    root: bool = False
    """Whether they log in as root, too."""
    files: list[dict[str, str]] = field(factory=list)
    early: list[str] = field(factory=list)
    """Shell scripts that run as root before anybody can log in: boothooks and ``bootcmd``."""
    late: list[str] = field(factory=list)
    """Shell scripts that run as root behind that, one after the other: ``runcmd`` and the data's own scripts."""
    problems: list[str] = field(factory=list)
    """What cloud-init may know and the rig does not, or what neither can read."""


def boot(data: bytes) -> Boot:
    """Read user data: a cloud-config, a script, a boothook, or several of them as MIME; packed by gzip or not."""
    made = Boot()
    _part(made, gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return made


def _part(made: Boot, data: bytes) -> None:
    text = data.decode()
    first = text.partition("\n")[0].strip()
    if not text.strip():
        return
    if first.startswith("#cloud-config"):
        _config(made, yaml.safe_load(text) or {})
    elif first.startswith("#cloud-boothook"):
        made.early.append(text.partition("\n")[2])
    elif first.startswith("#!"):
        made.late.append(text)
    elif first.lower().startswith(("content-type: multipart", "mime-version:")):
        for part in email.message_from_string(text).walk():
            content = part.get_payload(decode=True)
            if isinstance(content, bytes):
                _part(made, content)
    else:
        made.problems.append(f"user data that begins with {first[:40]!r}")


def _config(made: Boot, settings: Mapping[str, Any]) -> None:
    for setting, value in settings.items():
        match setting:
            case "ssh_keys":
                for key, text in value.items():
                    kind, _, half = key.rpartition("_")
                    name = f"ssh_host_{kind}_key{'.pub' if half == 'public' else ''}"
                    made.host_keys[name] = text.rstrip("\n") + "\n"
            case "ssh_authorized_keys":
                made.authorized += value
            case "disable_root":
                made.root = not value
            case "bootcmd":
                made.early.append(_script(value))
            case "runcmd":
                made.late.append(_script(value))
            case "write_files":
                made.files += [_file(made, each) for each in value]
            case "users" if value == ["default"]:
                pass
            case "ssh_deletekeys" if value:
                pass
            case _ if setting not in IDLE:
                made.problems.append(f"the key {setting!r} of a cloud-config")


def _file(made: Boot, asked: Mapping[str, Any]) -> dict[str, str]:
    if unknown := asked.keys() - {"path", "content", "permissions", "owner"}:
        made.problems.append(f"{', '.join(sorted(unknown))} of write_files")
    return {
        "path": asked["path"],
        "content": asked.get("content", ""),
        "mode": str(asked.get("permissions", "0644")),
        "owner": asked.get("owner", "root:root"),
    }


def _script(commands: Sequence[str | Sequence[object]]) -> str:
    """One script of all: a list is a command with its arguments, a text is shell."""
    lines = (each if isinstance(each, str) else shlex.join(map(str, each)) for each in commands)
    return "#!/bin/sh\n" + "\n".join(lines) + "\n"
