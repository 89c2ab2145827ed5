"""Vendors with a REST API: a client that never creates blindly twice, and what sessions of such vendors share.

The one package that imports httpx and cattrs, which come with ``skyward-core[rest]``. Nothing loads it before a pool is
entered whose provider needs it.
"""

from __future__ import annotations

from skyward.errors import ConfigurationError

try:
    import cattrs as cattrs
    import httpx as httpx
except ImportError as error:
    raise ConfigurationError(
        f"this provider asks a REST API, and {error.name} is not installed: pip install 'skyward-core[rest]'"
    ) from error

from skyward._rest.answer import Answer
from skyward._rest.client import RestClient
from skyward._rest.credentials import Authorize, bearer
from skyward._rest.label import MachineLabel
from skyward._rest.order import Order
from skyward._rest.pace import Pace
from skyward._rest.session import RestSession
from skyward._rest.transfer import Explain

__all__ = [
    "Answer",
    "Authorize",
    "Explain",
    "MachineLabel",
    "Order",
    "Pace",
    "RestClient",
    "RestSession",
    "bearer",
]
