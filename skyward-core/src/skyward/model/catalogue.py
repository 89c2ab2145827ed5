"""The accelerators that Skyward knows, read from ``catalogue.toml`` beside this file when first asked for.

The file says where its figures come from. Memory sizes are those of one device, as vendors print them
(``"80GB"`` means 80 times 10**9 bytes, near enough). Nothing here decides anything: how a name is read
stands in :mod:`skyward.model.spelling`, what a request means in :mod:`skyward.model.accelerator`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import product

from attrs import frozen

__all__ = ["Catalogue", "Model", "SliceRule", "catalogue", "nvidia_names", "spellings"]


@frozen
class SliceRule:
    """How Google numbers the slices of a TPU: ``v5p-8`` counts cores, ``v5e-8`` counts chips.

    ``cores_per_chip`` is what the number of a slice is divided by, ``largest`` the largest number sold.
    """

    cores_per_chip: int
    largest: int


@frozen(eq=False)
class Model:
    """One model: ``memory`` is its sizes, the default first; ``forms`` and ``mig`` are empty for most models."""

    name: str
    vendor: str
    memory: tuple[str, ...]
    forms: Mapping[str, tuple[str, ...]]
    mig: Mapping[str, Mapping[str, int]]
    slice: SliceRule | None

    def named(self, form: str | None) -> str:
        """The canonical name of the model, or of one of its forms: ``"H100"``, ``"H100-SXM"``."""
        return self.name if form is None else f"{self.name}-{form}"

    def sizes(self, form: str | None) -> tuple[str, ...]:
        """The memory sizes in which the model, or one of its forms, is sold; the default first."""
        return self.memory if form is None else self.forms[form]

    def names(self) -> Iterator[str]:
        """Every canonical name: bare, with each size where there is a choice, and the same for each form."""
        for form in (None, *self.forms):
            name = self.named(form)
            yield name
            if len(sizes := self.sizes(form)) > 1:
                yield from (f"{name}-{size}" for size in sizes)


@frozen(eq=False)
class Catalogue:
    """All models, and the words in which their names are spelled.

    ``models`` goes by canonical name, in the file's order. ``index`` maps every way to join the words of a model's
    name, or of a whole-name alias, to a canonical name; ``vendor_words`` and ``form_words`` map lower-case words.
    """

    models: Mapping[str, Model]
    index: Mapping[str, str]
    vendor_words: Mapping[str, str]
    form_words: Mapping[str, str]
    ignored: frozenset[str]

    def names(self, vendor: str | None = None) -> tuple[str, ...]:
        """The models' bare names, of one vendor or of all."""
        return tuple(m.name for m in self.models.values() if vendor in (None, m.vendor))

    def vendors(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.vendor for m in self.models.values()))


def spellings(name: str) -> Iterator[str]:
    """Lower-case ways to write a name: words apart by ``-``, or run together.

    Words end at a space or hyphen, and where two letters or more meet a digit: ``MI300X`` is also ``mi-300x``, but
    ``A100`` is never ``a-100``.
    """
    words = re.split(r"[\s-]+|(?<=[a-z]{2})(?=\d)", name.casefold())
    for joints in product(("", "-"), repeat=len(words) - 1):
        yield "".join(word + joint for word, joint in zip(words, (*joints, ""), strict=True))


@cache
def catalogue() -> Catalogue:
    """The catalogue, read once per process."""
    text = resources.files("skyward.model").joinpath("catalogue.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    models = {
        name: Model(
            name=name,
            vendor=vendor,
            memory=tuple(row["memory"]),
            forms={form: tuple(sizes) for form, sizes in row.get("forms", {}).items()},
            mig=raw["mig"].get(name, {}),
            slice=SliceRule(**row["slice"]) if "slice" in row else None,
        )
        for vendor, rows in raw["models"].items()
        for name, row in rows.items()
    }
    index = {spelling: name for name in models for spelling in spellings(name)}
    index.update((spelling, name) for alias, name in raw["aliases"].items() for spelling in spellings(alias))
    return Catalogue(
        models=models,
        index=index,
        vendor_words=_by_word(raw["words"]["vendors"]),
        form_words=_by_word(raw["words"]["forms"]),
        ignored=frozenset(raw["words"]["ignored"]),
    )


def nvidia_names() -> tuple[str, ...]:
    """The members of :data:`skyward.model.nvidia.NVIDIA`, in the catalogue's order."""
    return tuple(name for m in catalogue().models.values() if m.vendor == "NVIDIA" for name in m.names())


def _by_word(groups: Mapping[str, list[str]]) -> dict[str, str]:
    return {word: meaning for meaning, words in groups.items() for word in words}
