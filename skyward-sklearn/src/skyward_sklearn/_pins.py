"""Which versions the nodes get: the client's. What asks for others is refused here, before anything is bought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from skyward import ConfigurationError
from skyward_sklearn._versions import DISTRIBUTIONS

__all__ = ["check_image", "check_parameter", "installed", "pins"]


def installed(distribution: str) -> str | None:
    """The version of a distribution on this client; ``None`` without it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def pins(distributions: Iterable[str]) -> tuple[str, ...]:
    """Requirements of the client's own versions; of what the client does not have there is none.

    What stands behind a ``+`` tells where a build came from, and is no part of what an index has.
    """
    found = ((name, installed(name)) for name in distributions)
    return tuple(f"{name}=={has.partition('+')[0]}" for name, has in found if has is not None)


def check_parameter(parameter: str, distribution: str, given: object) -> None:
    """Refuse the version that a parameter names when the client has another.

    Raises:
        ConfigurationError: as said, or it is no version.
    """
    if given is None:
        return
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    has = installed(distribution)
    example = f"write {parameter}={has!r}, or leave it out"
    if not isinstance(given, str):
        raise ConfigurationError(f"{parameter} is {given!r}, which is no string; {example}")
    try:
        wanted = Version(given)
    except InvalidVersion:
        raise ConfigurationError(f"{parameter} is {given!r}, which is no version; {example}") from None
    if has is not None and not SpecifierSet(f"=={wanted.public}").contains(has, prereleases=True):
        raise ConfigurationError(
            f"{parameter} is {given!r}, and this client has {distribution} {has}: what is pickled does not cross "
            f"versions; leave it out for the nodes to get {has}, or install here what they shall have: "
            f"pip install {distribution}=={given}"
        )


def check_image(pip: Iterable[str]) -> None:
    """Refuse an image whose requirements exclude the version that the client has.

    What has no version (a URL, a path in a repository), or is for other machines than this one, is let be: the slots
    look at what they got before they unpickle anything.

    Raises:
        ConfigurationError: as said.
    """
    for requirement in pip:
        _check_requirement(requirement, {name: installed(name) for name in DISTRIBUTIONS.values()})


def _check_requirement(text: str, versions: Mapping[str, str | None]) -> None:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requirement = Requirement(text)
    except InvalidRequirement:  # such as a bare URL: the installer's to judge
        return
    name = canonicalize_name(requirement.name)
    has = versions.get(name)
    if has is None or (requirement.marker is not None and not requirement.marker.evaluate()):
        return
    if not requirement.specifier.contains(has, prereleases=True):
        raise ConfigurationError(
            f"the image asks for {requirement.name}{requirement.specifier}, and this client has {name} {has}: what is "
            f"pickled does not cross versions; leave it out of pip for the nodes to get {has}, or install here what "
            f"they shall have: pip install '{requirement.name}{requirement.specifier}'"
        )
