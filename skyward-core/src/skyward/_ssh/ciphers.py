"""Which cipher goes first: half of the time that a short message takes over SSH is spent in it."""

from __future__ import annotations

import functools
import platform
import re
import sys
from collections.abc import Iterable

__all__ = ["cipher_order", "has_aes", "is_authenticated"]

_AES = "aes128-gcm@openssh.com,aes256-gcm@openssh.com"
_CHACHA = "chacha20-poly1305@openssh.com"


@functools.cache
def cipher_order() -> str:
    """The ciphers that go before the library's own order, for the processor of this machine.

    Over one connection, aes128-gcm took 335 us for an echo where chacha20 took 600, and carried 95 to 180 MB/s where
    that carried 52 to 100. Without instructions for AES it is the other way round.
    """
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
                aes = has_aes(file)
        except OSError:
            aes = True
    else:
        aes = platform.machine() in {"arm64", "aarch64", "x86_64", "AMD64"}  # every Mac that a current macOS runs on
    return f"^{_AES},{_CHACHA}" if aes else f"^{_CHACHA},{_AES}"


def has_aes(cpuinfo: Iterable[str]) -> bool:
    """Whether the first list of a processor's features in ``/proc/cpuinfo`` has AES; True where there is none."""
    for line in cpuinfo:
        name, _, features = line.partition(":")
        if re.fullmatch(r"(flags|Features)\s*", name):
            return "aes" in features.split()
    return True


def is_authenticated(cipher: str) -> bool:
    """Whether a cipher authenticates what it encrypts (AEAD)."""
    return "gcm" in cipher or "poly1305" in cipher
