"""Where a client's credentials come from."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from attrs import field, frozen

from skyward import AuthenticationFailed

__all__ = ["REMEDY", "Credentials", "found"]

_ID, _SECRET = "VERDA_CLIENT_ID", "VERDA_CLIENT_SECRET"
REMEDY = f"set {_ID} and {_SECRET} to those of https://console.verda.com, or write them into ~/.verda/credentials"


@frozen
class Credentials:
    """What a token is got for.

    Attributes:
        id: of the client, half of which the vendor's own programs log.
        secret: no ``repr`` shows it.
        source: where they were found, for messages.
    """

    id: str = field(repr=False)
    secret: str = field(repr=False)
    source: str


def found(profile: str | None) -> Credentials:
    """The credentials of the variables, or of a profile of the vendor's file.

    Args:
        profile: which is asked for by name, and goes before the variables; ``None`` for nobody.

    Raises:
        AuthenticationFailed: there are none, or half of them.
    """
    if profile is None:
        given = {name: os.environ.get(name, "").strip() for name in (_ID, _SECRET)}
        if all(given.values()):
            return Credentials(given[_ID], given[_SECRET], f"{_ID} and {_SECRET}")
        if any(given.values()):
            [missing] = [name for name, value in given.items() if not value]
            raise AuthenticationFailed(f"{missing} is not set, and the other half of the credentials is: {REMEDY}")
    return _of_file(_file(), profile or os.environ.get("VERDA_PROFILE") or "default", named=profile is not None)


def _file() -> Path:
    if named := os.environ.get("VERDA_SHARED_CREDENTIALS_FILE"):
        return Path(named).expanduser()
    return Path(os.environ.get("VERDA_HOME") or "~/.verda").expanduser() / "credentials"


def _of_file(path: Path, profile: str, *, named: bool) -> Credentials:
    """The credentials of a profile; ``named`` says that the settings have named it."""
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing = f"there is no {path} for the profile {profile!r}" if named else "no credentials for Verda"
        raise AuthenticationFailed(f"{missing}: {REMEDY}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise AuthenticationFailed(f"{path} cannot be read ({reason}): mend it, or {REMEDY}") from None
    except configparser.Error as error:  # whose words quote lines of the file
        said = type(error).__name__
        raise AuthenticationFailed(f"{path} is not an INI file ({said}): mend it, or {REMEDY}") from None
    if profile not in parser:
        profiles = ", ".join(parser.sections()) or "none"
        raise AuthenticationFailed(
            f"{path} has no profile {profile!r}, but {profiles}: name another one in Verda(profile=...) or "
            f"VERDA_PROFILE, or {REMEDY}"
        )
    section = parser[profile]
    values = [section.get(key, "").strip() for key in ("verda_client_id", "verda_client_secret")]
    if not all(values):
        raise AuthenticationFailed(
            f"the profile {profile!r} of {path} lacks verda_client_id or verda_client_secret: add it, or {REMEDY}"
        )
    return Credentials(values[0], values[1], f"the profile {profile!r} of {path}")
