"""Where the account's key and the interface's address are found."""

from __future__ import annotations

import os
from pathlib import Path

from skyward import AuthenticationFailed
from skyward_vastai._limits import REMEDY
from skyward_vastai._settings import ENDPOINT, VastAI

__all__ = ["address", "key"]


def address(settings: VastAI) -> str:
    """Where Vast.ai is asked, without a slash at the end."""
    given = os.environ.get("SKYWARD_VASTAI_ENDPOINT", "") if settings.endpoint == ENDPOINT else ""
    return (given or settings.endpoint).rstrip("/")


def key() -> str:
    """The account's key, from where Vast.ai's own command line looks for it.

    Raises:
        AuthenticationFailed: there is none.
    """
    if found := os.environ.get("VAST_API_KEY", "").strip():
        return found
    for path in _files():
        try:
            found = path.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise AuthenticationFailed(f"the key for Vast.ai in {path} cannot be read ({error}): {REMEDY}") from None
        if found:
            return found
    looked = ", ".join(str(path) for path in _files())
    raise AuthenticationFailed(f"no key for Vast.ai in VAST_API_KEY, {looked}: {REMEDY}")


def _files() -> list[Path]:
    home = Path(os.path.expanduser("~"))  # unlike Path.home() it never raises
    configuration = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
    return [Path(configuration, "vastai", "vast_api_key"), home / ".vast_api_key"]
