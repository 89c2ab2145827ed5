"""A Vast.ai for the tests, see tests/vendors/fakes; and sessions with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import vastai as vastai
from fakes.fixtures import vastai_api as vastai_api
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.sessions import Hurry, opening
from fakes.sessions import hurry as hurry
from fakes.sessions import identity as identity
from fakes.sessions import spec as spec

from skyward.spi import PoolIdentity
from skyward_vastai import VastAI


@pytest.fixture
def opened(hurry: Hurry, identity: Callable[..., PoolIdentity]) -> Any:
    """Opens sessions; arguments are the pool's identity, and settings."""
    return opening(VastAI, identity)
