"""Reads the many ways in which people and vendors write the name of an accelerator.

    A100    a100-80gb    H100:4    A100-40GB:8    h100-sxm    NVIDIA A100-SXM4-80GB    NVIDIA H100 80GB HBM3
    GeForce RTX 4090    RTX_4090    MI300X    Trainium2    trn2    TPU-v5p    v5p-8    H100-80GB-MIG-3g.40gb:2

Case never matters, nor whether words are joined by hyphens, underscores, spaces, or nothing where a word meets a number
(``RTX4090``). The rest is data: see ``catalogue.toml``. A name that fits nothing is refused, never guessed.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from attrs import frozen

from skyward.errors import ConfigurationError
from skyward.model.catalogue import Catalogue, Model, catalogue

__all__ = ["Spelled", "choices", "did_you_mean", "read"]

_SLICE = re.compile(r"(?:tpu[\s_-]*)?(v\d+[a-z]*)[\s_-](\d+)")
_MEMORY = re.compile(r"\d+(?:\.\d+)?gb")
_PROFILE = re.compile(r"\d+g\.\d+gb")


@frozen
class Spelled:
    """What a text says. ``None`` stands for what it leaves out; ``form`` is ``None`` also for a model without forms.

    ``memory`` and ``mig`` are canonically written but not yet checked against the model.
    """

    model: Model
    form: str | None = None
    memory: str | None = None
    mig: str | None = None
    count: int | None = None


@lru_cache(maxsize=1024)
def read(text: str) -> Spelled:
    """Take a text apart. Raises :class:`ConfigurationError` for an unknown name or a count that is not one."""
    known = catalogue()
    name, colon, number = text.strip().partition(":")
    if colon and not re.fullmatch(r"\s*0*[1-9][0-9]*\s*", number, re.ASCII):
        raise ConfigurationError(
            f"'{text}' has no valid count after the colon; write a whole number of devices from 1 up, "
            f"such as '{name.strip()}:4'"
        )
    count = int(number) if colon else None
    if found := _SLICE.fullmatch(name.strip().casefold()):
        return _slice(text, found[1], int(found[2]), count)
    words, vendor = _without_vendor(known, name)
    mig = _take_profile(words, text)
    target, form, memory = _look_up(known, words)
    if target is None:
        raise _unknown(known, text, words)
    model, own_form = _named(known, target)
    if vendor and vendor != model.vendor:
        raise ConfigurationError(
            f"'{text}' names {vendor}, but {model.name} is made by {model.vendor}; drop '{vendor}'"
        )
    form = own_form or form
    if form is not None and form not in model.forms:
        forms = ", ".join(f"'{model.named(f)}'" for f in model.forms)
        remedy = f"choose one of {forms}, or '{model.name}'" if forms else f"write '{model.name}'"
        raise ConfigurationError(f"{model.name} does not come as {form}; {remedy}")
    return Spelled(model, form, memory, mig, count)


def choices(known: Catalogue) -> str:
    """All models by vendor, as errors list them."""
    return "; ".join(f"{vendor}: {', '.join(known.names(vendor))}" for vendor in known.vendors())


def did_you_mean(word: str, among: dict[str, str] | tuple[str, ...]) -> str:
    """``"did you mean 'a' or 'b'? "``, or nothing when nothing is near. A mapping goes from spelling to name."""
    names = among if isinstance(among, dict) else {name.casefold(): name for name in among}
    near = difflib.get_close_matches(word.casefold(), names, n=6, cutoff=0.6)
    found = list(dict.fromkeys(names[key] for key in near))[:3]
    return f"did you mean {' or '.join(repr(name) for name in found)}? " if found else ""


def _without_vendor(known: Catalogue, name: str) -> tuple[list[str], str | None]:
    vendor = None
    words: list[str] = []
    for word in re.split(r"[\s_-]+", name.strip().casefold()):
        if word in known.vendor_words:
            vendor = known.vendor_words[word]
        elif word not in known.ignored:
            words.append(word)
    return words, vendor


def _take_profile(words: list[str], text: str) -> str | None:
    """Remove the MIG profile from the words and return it."""
    if "mig" in words:
        at = words.index("mig")
        if at + 1 == len(words):
            raise ConfigurationError(f"'{text}' names no MIG profile; write it after 'MIG', such as 'H100-MIG-3g.40gb'")
        _, profile = words.pop(at), words.pop(at)
        return profile
    for word in words:
        if _PROFILE.fullmatch(word):
            words.remove(word)
            return word
    return None


def _look_up(known: Catalogue, words: list[str]) -> tuple[str | None, str | None, str | None]:
    """Canonical name, form and memory. The longest reading wins: an alias may hold words that mean more elsewhere."""
    if target := known.index.get("-".join(words)):
        return target, None, None
    forms = [word for word in words if word in known.form_words]
    rest = [word for word in words if word not in known.form_words]
    form = known.form_words[forms[0]] if forms else None
    sizes = [word for word in rest if _MEMORY.fullmatch(word)]
    if len(forms) > 1 or len(sizes) > 1:
        return None, None, None
    if target := known.index.get("-".join(rest)):
        return target, form, None
    bare = "-".join(word for word in rest if word not in sizes)
    return known.index.get(bare), form, sizes[0].upper() if sizes else None


def _named(known: Catalogue, target: str) -> tuple[Model, str | None]:
    if target in known.models:
        return known.models[target], None
    name, _, form = target.rpartition("-")
    return known.models[name], form


def _slice(text: str, version: str, number: int, count: int | None) -> Spelled:
    """A slice of a TPU, as Google names it, becomes so many chips: ``v5p-8`` has 8 cores, hence 4 chips."""
    known = catalogue()
    target = known.index.get(version)
    rule = known.models[target].slice if target else None
    if target is None or rule is None:
        versions = tuple(m.name.removeprefix("TPU-") for m in known.models.values() if m.slice)
        raise ConfigurationError(
            f"unknown TPU slice '{text}': there is no version {version}; {did_you_mean(version, versions)}"
            f"Versions: {', '.join(versions)}"
        )
    if count is not None:
        raise ConfigurationError(f"'{text}' counts twice: a slice's name holds its size; write '{version}-{number}'")
    if number == 0 or number % rule.cores_per_chip or number > rule.largest:
        unit = "chips" if rule.cores_per_chip == 1 else "cores, 2 to a chip"
        raise ConfigurationError(
            f"there is no TPU slice '{text}': the number counts {unit}, up to {rule.largest}; "
            f"write for example '{version}-8'"
        )
    return Spelled(known.models[target], count=number // rule.cores_per_chip)


def _unknown(known: Catalogue, text: str, words: list[str]) -> ConfigurationError:
    names = {name.casefold(): name for model in known.models.values() for name in model.names()}
    near = did_you_mean("-".join(words), names) or did_you_mean("".join(words), {**names, **known.index})
    return ConfigurationError(f"unknown accelerator '{text}'; {near}Known models: {choices(known)}")
