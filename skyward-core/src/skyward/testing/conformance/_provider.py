"""``ProviderConformance``: the rules of a provider, from its settings to the end of its machines."""

from __future__ import annotations

from skyward.testing.conformance._asking import AskingRules
from skyward.testing.conformance._booting import BootRules
from skyward.testing.conformance._cancelling import CancellingRules
from skyward.testing.conformance._declared import DeclaredRules
from skyward.testing.conformance._ending import EndingRules, FindingRules
from skyward.testing.conformance._extending import ExtendingRules
from skyward.testing.conformance._leaving import LeavingRules
from skyward.testing.conformance._machines import MachineRules
from skyward.testing.conformance._offers import OfferRules
from skyward.testing.conformance._orders import OrderRules
from skyward.testing.conformance._refusing import RefusalRules
from skyward.testing.conformance._secrets import SecretRules
from skyward.testing.conformance._settings import SettingsRules
from skyward.testing.conformance._vanishing import VanishingRules

__all__ = ["ProviderConformance"]


class ProviderConformance(
    SettingsRules,
    OfferRules,
    MachineRules,
    EndingRules,
    FindingRules,
    ExtendingRules,
    CancellingRules,
    DeclaredRules,
    AskingRules,
    OrderRules,
    RefusalRules,
    BootRules,
    VanishingRules,
    LeavingRules,
    SecretRules,
):
    """Tests of a provider. Supply the fixture ``provider``: its settings, ready to be opened.

    The tests buy a machine or two each, for a moment, and remove them even when they fail. What an author may set
    beside the fixture stands in `ProviderRules`: what to ask for, how long to wait, on which event loop to run, and
    what a fake server can tell. With ``vendor()`` the tests also have things go wrong at the vendor's.
    """
