"""``Supplies``: what an integration needs on the nodes of a pool, as a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from skyward.errors import ConfigurationError
from skyward.model.image import Image, Variables
from skyward.model.redact import redact

__all__ = ["Supplies"]

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def _pip(values: Iterable[str] | None) -> tuple[str, ...]:
    return Image(pip=values).pip  # by the same rules, with the same words


def _index(value: str | None) -> str | None:
    return Image(pip_extra_index_url=value).pip_extra_index_url


def _env(values: Mapping[str, str] | None) -> Variables:
    return Image(env=values).env


def _modules(values: Iterable[str]) -> tuple[str, ...]:
    found = (values,) if isinstance(values, str) else tuple(values)
    for name in found:
        if not isinstance(name, str) or not _MODULE.fullmatch(name):
            raise ConfigurationError(f"preload has {name!r}; give names of modules, such as 'numpy.linalg'")
    return tuple(dict.fromkeys(found))


def _flag(value: bool) -> bool:  # noqa: FBT001 -- a converter
    if not isinstance(value, bool):
        raise ConfigurationError(f"private_network is {value!r}; give True or False")
    return value


def _group(value: str | None) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"group is {value!r}; give the name of the integration that forms it, such as 'torch'")
    return value


def _shown(url: str | None) -> str:
    return repr(None if url is None else redact(url))


@frozen(kw_only=True)
class Supplies:
    """What an integration needs on the nodes. All is empty by default; malformed input raises ``ConfigurationError``.

    Attributes:
        pip: requirements, as in ``Image.pip``. For a package that the image names too, the image's own stands; a pin
            (``==``) of a version that it takes is added to it, and so are extras where it names none.
        pip_extra_index_url: a package index, used where the image names none.
        env: environment variables of the nodes' processes and of the installation; the image's and the pool's go
            before them.
        preload: names of modules that each slot imports as soon as it is started, in this order and before its first
            task. The pool does not wait for that. What is missing or fails is passed over, and nothing that an import
            prints is shown.
        private_network: the nodes must reach each other: of several, at a provider that cannot, the pool is refused.
        group: the name of the integration that forms the group in which functions run, where one does. A call is in
            one group, so a pool whose integrations name different ones is refused.
    """

    pip: tuple[str, ...] = field(default=(), converter=_pip)
    pip_extra_index_url: str | None = field(default=None, converter=_index, repr=_shown)
    env: Variables = field(default=None, converter=_env)
    preload: tuple[str, ...] = field(default=(), converter=_modules)
    private_network: bool = field(default=False, converter=_flag)
    group: str | None = field(default=None, converter=_group)
