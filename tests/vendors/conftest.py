"""The vendors for tests of several of them, and of themselves."""

from __future__ import annotations

from fakes.fixtures import pytest_collection_modifyitems as pytest_collection_modifyitems
from fakes.fixtures import vendor_yard as vendor_yard
