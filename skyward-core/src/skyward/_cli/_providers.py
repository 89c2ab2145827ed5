"""Which providers a command asks: each that is installed, with its default settings and with those of the ledgers."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from skyward import _plugins
from skyward._accounts import Account
from skyward._cli._output import UsageProblem
from skyward._examining import UNSET
from skyward._plugins_kinds import FIRST_PARTY
from skyward._recipe import made_again
from skyward.errors import PluginError
from skyward.model.nearest import did_you_mean
from skyward.spi.provider import Provider

__all__ = ["Choice", "choose"]


@frozen
class Choice:
    """The providers to ask, and in words why others are not.

    Attributes:
        names: the providers' names, those included that cannot be asked.
        providers: their settings.
        notes: why some cannot be asked.
        named: whether the user has named them, and so does not ask about others.
    """

    names: tuple[str, ...]
    providers: tuple[Provider, ...]
    notes: tuple[str, ...]
    named: bool


def choose(
    wanted: Sequence[str], accounts: Sequence[Account], *, command: str = "skyward reap", living: bool = False
) -> Choice:
    """Choose the providers of these names, or all.

    Args:
        wanted: names as in ``sky.<name>``; empty for every provider that is installed.
        accounts: the settings of dead clients' pools are made again, as far as their ledgers tell them.
        command: what messages begin with.
        living: whether those of living clients' pools are, too.

    Raises:
        UsageProblem: a name is not that of a provider that can be used; near matches are named.
    """
    installed = _plugins.provider_names()
    names = tuple(dict.fromkeys(_known(name, installed, command) for name in wanted)) or tuple(installed)
    plugins = () if wanted else _plugins.installed_plugins()
    notes = [f"{plugin.distribution}: {plugin.problem}" for plugin in plugins if plugin.problem]
    providers: dict[Provider, None] = {}
    for name in names:
        make = _plugins.provider(name)
        try:
            providers[make()] = None
        except Exception as error:  # noqa: BLE001  whatever the plugin has to say: it has no default settings
            notes.append(f"{name}: {UNSET} ({error})")
        for mark, text in [pair for account in accounts for pair in _recipes(account, name, living)]:
            settings = made_again(make, text, mark)
            if settings is not None:
                providers[settings] = None
    return Choice(names, tuple(providers), tuple(notes), bool(wanted))


def _recipes(account: Account, name: str, living: bool) -> list[tuple[str, str]]:  # noqa: FBT001
    """The fingerprints and recipes of a provider's settings by which a pool may have machines."""
    if (account.alive and not living) or name not in account.asked:
        return []
    return [(mark, account.recipes.get(mark, "")) for mark in account.settings.get(name, ())]


def _known(name: str, installed: Sequence[str], command: str) -> str:
    """The name as it is written."""
    known = next((each for each in (*installed, *FIRST_PARTY) if each.casefold() == name.casefold()), name)
    try:
        _plugins.provider(known)
    except PluginError as error:
        raise UsageProblem(f"{command}: {error}") from error
    except AttributeError as error:
        near = did_you_mean(name, {*installed, *FIRST_PARTY})
        raise UsageProblem(f"{command}: there is no provider {name!r}{near}") from error
    return known
