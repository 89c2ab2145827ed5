"""Where the key to the account is found: the vendor's variable, else the vendor's file, and nowhere else."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from skyward import AuthenticationFailed

__all__ = ["FILE", "REMEDY", "VARIABLE", "find_key"]

VARIABLE = "RUNPOD_API_KEY"
FILE = "~/.runpod/config.toml"
REMEDY = f"make a key at https://console.runpod.io/user/settings, and set {VARIABLE} to it or run `runpod config`"


def find_key(profile: str | None) -> tuple[str, str]:
    """Return the key, and where it was found, in words.

    Args:
        profile: the section of the file that counts, and nothing else then; ``None`` for the variable, else the section
            ``default``.

    Raises:
        AuthenticationFailed: there is none, or the file cannot be read.
    """
    if profile is None and (key := os.environ.get(VARIABLE, "").strip()):
        return _sound(key, VARIABLE), VARIABLE
    profile = profile or "default"
    path = Path(FILE).expanduser()
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AuthenticationFailed(f"there is no key for RunPod, neither {VARIABLE} nor {FILE}: {REMEDY}") from None
    except (OSError, ValueError) as error:  # the text of a syntax error may hold a part of the key
        why = error.strerror if isinstance(error, OSError) else "it is no TOML"
        raise AuthenticationFailed(f"{FILE} cannot be read, since {why}: {REMEDY}") from None
    section = sections.get(profile)
    found = section.get("api_key") if isinstance(section, dict) else None
    if not isinstance(found, str) or not found.strip():
        others = [name for name, each in sections.items() if isinstance(each, dict) and each.get("api_key")]
        hint = f"give profile={others[0]!r}, whose section has one" if others else REMEDY
        raise AuthenticationFailed(f"{FILE} has no api_key in a section [{profile}]: {hint}")
    where = f"[{profile}] of {FILE}"
    return _sound(found.strip(), where), where


def _sound(key: str, where: str) -> str:
    """Refuse what no header can hold, without showing it."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AuthenticationFailed(f"what {where} holds is no key, since it has spaces or odd characters: {REMEDY}")
    return key
