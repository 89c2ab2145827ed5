"""What the integrations of a pool need on its nodes: asked for once, and put together with what the image says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from skyward._hooks import within_limit
from skyward.errors import ConfigurationError, PluginError, SkywardError
from skyward.model.image import Image, Variables, client_python
from skyward.model.redact import redact
from skyward.model.supplies import Supplies
from skyward.spi.integration import Supplying

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from skyward._options import PoolOptions
    from skyward.model.spec import ComputeSpec
    from skyward.spi.provider import Provider

__all__ = ["is_here", "supplied", "title_of", "together_with"]

type Named = Sequence[tuple[str, Supplies]]
"""What integrations need, each with the integration's name."""

_HEAD = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:$|[\[<>=!~(;@])")


def title_of(integration: object) -> str:
    """How an integration is called in messages."""
    for attribute in ("name", "__qualname__"):
        found = getattr(integration, attribute, None)
        if isinstance(found, str) and found:
            return found
    return type(integration).__qualname__


async def supplied(options: PoolOptions) -> PoolOptions:
    """The options with all that the integrations need; those given where none needs anything.

    Raises:
        ConfigurationError: an integration refuses the pool, two of them contradict each other, or the nodes of a
            provider could not reach each other.
        PluginError: an integration breaks its contract.
    """
    spec = options.spec
    found = [
        (title_of(each), await _asked(each, title_of(each), spec))
        for each in options.plugins
        if isinstance(each, Supplying)
    ]
    if not found:
        return options
    _demand_one_group(found)
    if spec.nodes > 1:
        _demand_network(found, options.providers)
    image = together_with(spec.image, found, options.environment)
    return evolve(
        options,
        spec=evolve(spec, image=image),
        image_here=_here(spec.image, image),
        preload=tuple(dict.fromkeys(name for _, supplies in found for name in supplies.preload)),
    )


async def _asked(integration: Supplying, title: str, spec: ComputeSpec) -> Supplies:
    def mistake(what: str) -> PluginError:
        return PluginError(f"supplies of the integration {title} {what}; report that to its authors, or leave it out")

    answer: object = await within_limit(lambda: integration.supplies(spec), mistake, passes=(SkywardError,))
    if not isinstance(answer, Supplies):
        raise mistake(f"returned {answer!r}, which is no Supplies")
    return answer


def _demand_network(found: Named, providers: Iterable[Provider]) -> None:
    for title, supplies in found:
        for provider in providers if supplies.private_network else ():
            if not provider.capabilities.private_network:
                raise ConfigurationError(
                    f"{title} needs nodes that reach each other, and those of {provider.name} do not as it is set up: "
                    "use nodes=1, or a provider whose nodes have a private network"
                )


def _demand_one_group(found: Named) -> None:
    forming = [(title, supplies.group) for title, supplies in found if supplies.group is not None]
    for title, group in forming[1:]:
        first, other = forming[0]
        if group != other:
            raise ConfigurationError(
                f"{first} and {title} in plugins=[...] would each form a group around a function, and a call is in "
                "one: leave one of the two out, or give each a pool of its own"
            )


def together_with(image: Image, found: Named, environment: Mapping[str, str] = Variables()) -> Image:
    """The image with what integrations need; what it names itself stands.

    Args:
        image: the pool's.
        found: what they need.
        environment: variables of the pool, which go before those of integrations, too.

    Raises:
        ConfigurationError: two of them contradict each other in what the pool leaves open.
    """
    return evolve(
        image,
        pip=(*image.pip, *_requirements(image.pip, found)),
        pip_extra_index_url=image.pip_extra_index_url or _index(found),
        env={**_variables({**image.env, **environment}, found), **image.env},
    )


def _index(found: Named) -> str | None:
    """The index that integrations name, of whom all that name one must name the same.

    Used only where the image has none, so that naming one there is the remedy.
    """
    named = [(title, url) for title, supplies in found if (url := supplies.pip_extra_index_url) is not None]
    for title, url in named[1:]:
        first, other = named[0]
        if url != other:
            raise ConfigurationError(
                f"{first} needs the package index {redact(other)}, and {title} needs {redact(url)}: name one that "
                "serves both in Image(pip_extra_index_url=...), or leave one of the two integrations out"
            )
    return named[0][1] if named else None


def _variables(given: Mapping[str, str], found: Named) -> dict[str, str]:
    values: dict[str, tuple[str, str]] = {}
    for title, supplies in found:
        for name, value in supplies.env.items():
            first, other = values.setdefault(name, (title, value))
            if value != other and name not in given:  # the values may be secrets
                raise ConfigurationError(
                    f"{first} and {title} set the variable {name} to different values: set it yourself, by "
                    f"env={{{name!r}: ...}} of the pool, or leave one of the two integrations out"
                )
    return {name: value for name, (_, value) in values.items()}


def _requirements(given: Iterable[str], found: Named) -> list[str]:
    """What integrations require of packages that the image does not name; of others, pins and extras it leaves open."""
    taken: dict[str | None, list[str]] = {}
    for text in given:
        taken.setdefault(_package(text), []).append(text)
    wanted: dict[str, list[tuple[str, str]]] = {}
    for title, supplies in found:
        for text in supplies.pip:
            name = _package(text)
            if name is None or name not in taken or _narrows(text, taken[name]):
                wanted.setdefault(name or text, []).append((title, text))
            elif extras := _extras_alone(text, taken[name]):
                wanted.setdefault(name, []).append((title, extras))
    for same in wanted.values():
        _demand_agreement(same)
    return list(dict.fromkeys(text for same in wanted.values() for _, text in same))


def _narrows(text: str, own: Iterable[str]) -> bool:
    """Whether a requirement pins one of several versions that the image's own requirements of its package take."""
    pinned = _pin(text)
    return pinned is not None and all(_leaves_open(each, pinned) for each in own)


def _extras_alone(text: str, own: Iterable[str]) -> str | None:
    """The extras that a requirement names, where the image's own requirements of its package name none.

    Which builds a framework gets may depend on them, as those for GPUs do. They go without a version, since resolvers
    unite all requirements of a package. An extra that the image names is a choice, beside which others may do harm.
    """
    parsed = _parsed(text)
    known = [_parsed(each) for each in own]
    if parsed is None or not parsed.extras or any(each is None or each.extras for each in known):
        return None
    condition = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{parsed.name}[{','.join(sorted(parsed.extras))}]{condition}"


def _leaves_open(text: str, version: str) -> bool:
    parsed = _parsed(text)
    if parsed is None or parsed.url is not None or _pin(text) is not None:
        return False
    return parsed.specifier.contains(version, prereleases=True)


def _demand_agreement(same: Sequence[tuple[str, str]]) -> None:
    """Refuse two integrations of which one pins a version that the other one does not take."""
    for title, text in same:
        for other, against in same:
            pinned = _pin(text)
            parsed = _parsed(against)
            if pinned and parsed is not None and not parsed.specifier.contains(pinned, prereleases=True):
                raise ConfigurationError(
                    f"{title} needs {redact(text)}, and {other} needs {redact(against)}: name the version that the "
                    "nodes shall have in Image(pip=[...]), or leave one of the two integrations out"
                )


def _pin(text: str) -> str | None:
    parsed = _parsed(text)
    if parsed is None:
        return None
    exact = [each.version for each in parsed.specifier if each.operator == "==" and not each.version.endswith("*")]
    return exact[0] if exact else None


def _parsed(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement:  # a bare URL, which names no package
        return None


def _package(text: str) -> str | None:
    """The name of the package that a requirement is about, as an index compares it; ``None`` for a bare URL."""
    from packaging.utils import canonicalize_name

    found = _HEAD.match(text)
    return None if found is None else canonicalize_name(found[1])


def _here(own: Image, image: Image) -> Image | None:
    """The image for machines that run in the client's environment, if it is another one there.

    What integrations supply is left out of it where the client has all of that, so that nothing is installed for an
    image that asks for no packages itself.
    """
    if own.pip or own.python != client_python() or not all(map(is_here, image.pip)):
        return None
    return evolve(image, pip=())


def is_here(text: str) -> bool:
    """Whether the environment of this process satisfies a requirement."""
    parsed = _parsed(text)
    return parsed is not None and _satisfied(parsed, set())


def _satisfied(parsed: Requirement, seen: set[str]) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    if parsed.marker is not None and not parsed.marker.evaluate():
        return True
    if parsed.url is not None or str(parsed) in seen:
        return parsed.url is None  # whether it came from there is not known
    seen.add(str(parsed))
    try:
        has = distribution(parsed.name)
    except PackageNotFoundError:
        return False
    if not parsed.specifier.contains(has.version, prereleases=True):
        return False
    return all(_satisfied(each, seen) for extra in parsed.extras for each in _of_extra(has.requires or (), extra))


def _of_extra(requires: Iterable[str], extra: str) -> list[Requirement]:
    """What an extra adds to the requirements of a distribution."""
    found: list[Requirement] = []
    for each in map(_parsed, requires):
        if each is None or each.marker is None or each.marker.evaluate({"extra": ""}):
            continue
        if each.marker.evaluate({"extra": extra}):
            each.marker = None
            found.append(each)
    return found
