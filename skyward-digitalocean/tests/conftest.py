"""DigitalOcean for the tests, see tests/vendors/fakes; and pools' sessions with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes.fixtures import digitalocean as digitalocean
from fakes.fixtures import digitalocean_api as digitalocean_api
from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.sessions import identity as identity
from fakes.sessions import opening

from skyward.spi import PoolIdentity
from skyward_digitalocean import DigitalOcean


@pytest.fixture
def opened(identity: Callable[..., PoolIdentity]) -> Any:
    """Opens a session, of a new pool unless one is given, and closes it."""
    return opening(DigitalOcean, identity)
