"""``Accelerator``: which device a node has, how many, and how each is shared.

Values are canonical however they were written, so they compare and hash as what they mean::

    Accelerator.parse("a100") == Accelerator.parse("NVIDIA A100-80GB") == Accelerator("A100", memory="80GB")
"""

from __future__ import annotations

import operator
from functools import partial
from typing import SupportsIndex, cast

from attrs import evolve, field, frozen

from skyward.errors import ConfigurationError
from skyward.model.catalogue import Model, catalogue
from skyward.model.memory import parse_memory
from skyward.model.spelling import Spelled, did_you_mean, read

__all__ = ["Accelerator"]


def _count(value: object) -> int:
    # bool is an int to Python, and count=True is a slip; numpy's integers are fine, hence operator.index.
    try:
        count = 0 if isinstance(value, bool) else operator.index(cast("SupportsIndex", value))
    except TypeError:
        count = 0
    if count < 1:
        raise ConfigurationError(
            f"count must be a whole number of devices from 1 up, not {value!r}; leave it out for 1"
        )
    return count


def _lower(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"mig must be a profile's name, not {value!r}; write for example '3g.40gb'")
    return None if value is None else value.strip().casefold()


def _size(value: str | None) -> str:
    return "" if value is None else f"{parse_memory(value):g}GB"


@frozen
class Accelerator:
    """A kind of device and how many of it one node has.

    ``name``
        a model (``"A100"``) or one of its forms (``"H100-SXM"``), in any spelling; kept canonically.
    ``count``
        devices per node, a whole number from 1 up. For Google's TPUs it counts chips.
    ``memory``
        of one device, as the vendor prints it (``"80GB"``). Left out, it becomes the size that has the MIG profile, or
        else the model's default: ``Accelerator("A100")`` means 80 GB.
    ``mig``
        a MIG profile (``"3g.40gb"``), into as many of which every device is cut as fit. NVIDIA only.
    ``vendor``
        follows from the name. May be given, and must then be right.

    Raises :class:`ConfigurationError` for what does not exist, naming what is near and what there is.
    """

    name: str
    count: int = field(default=1, converter=_count)
    memory: str = field(default=None, converter=_size)  # "" until __attrs_post_init__ has chosen; never to others
    mig: str | None = field(default=None, converter=_lower)
    vendor: str = field(default="", repr=False)

    @classmethod
    def parse(cls, value: str | Accelerator) -> Accelerator:
        """Read ``"A100"``, ``"A100-40GB:8"``, ``"h100-sxm"``, ``"v5p-8"``, ...; an ``Accelerator`` stays as it is.

        A number after a colon is the count. How names may be written: :mod:`skyward.model.spelling`.
        """
        if isinstance(value, Accelerator):
            return value
        spelled = _read(value)
        return cls(
            spelled.model.named(spelled.form),
            count=1 if spelled.count is None else spelled.count,
            memory=spelled.memory,
            mig=spelled.mig,
        )

    def __attrs_post_init__(self) -> None:
        spelled = _read(self.name)
        if spelled.count is not None:
            raise ConfigurationError(
                f"the name '{self.name}' holds a count; pass count=, or use Accelerator.parse({self.name!r})"
            )
        model = spelled.model
        if self.vendor and self.vendor.casefold() != model.vendor.casefold():
            raise ConfigurationError(
                f"{model.name} is made by {model.vendor}, not by {self.vendor}; leave vendor out, the name implies it"
            )
        mig = _agreed("mig", spelled.mig, self.mig, self.name)
        memory = _memory(spelled, _agreed("memory", spelled.memory, self.memory, self.name), mig)
        # The class is frozen, and these depend on each other, so that no converter of one field could set them.
        set_field = partial(object.__setattr__, self)
        set_field("name", model.named(spelled.form))
        set_field("memory", memory)
        set_field("mig", _profile(spelled, memory, mig))
        set_field("vendor", model.vendor)

    @property
    def model(self) -> str:
        """The model without its form: ``"H100"`` for ``"H100-SXM"``."""
        return self._model.name

    @property
    def form(self) -> str | None:
        """``"SXM"`` for ``"H100-SXM"``; ``None`` where any form will do, or there is only one."""
        return self.name.removeprefix(self.model).lstrip("-") or None

    @property
    def memory_gb(self) -> float:
        """Memory of one device in GB (10**9 bytes)."""
        return parse_memory(self.memory)

    @property
    def slots_per_device(self) -> int:
        """How many workers share one device: what the MIG profile says, else 1."""
        return 1 if self.mig is None else self._model.mig[self.memory][self.mig]

    @property
    def worker_count(self) -> int:
        """How many workers the devices of one node can hold: ``count * slots_per_device``."""
        return self.count * self.slots_per_device

    @property
    def worker_memory_gb(self) -> float:
        """Device memory of one worker in GB: that of the MIG profile, else of the whole device."""
        return self.memory_gb if self.mig is None else parse_memory(self.mig.partition(".")[2])

    def satisfies(self, wanted: Accelerator) -> bool:
        """Whether a machine that has these devices meets a request for ``wanted``.

        The model must be the same, and the form if the request names one; count and memory may be larger. A request for
        a MIG profile needs exactly its memory size, and whole devices or ones already cut that way.
        """
        return (
            self.model == wanted.model
            and wanted.form in (None, self.form)
            and self.count >= wanted.count
            and (self.memory == wanted.memory or (wanted.mig is None and self.memory_gb > wanted.memory_gb))
            and self.mig in (None, wanted.mig)
        )

    def with_count(self, count: int) -> Accelerator:
        """The same device, ``count`` times."""
        return evolve(self, count=count)

    def __str__(self) -> str:
        """The shortest text that :meth:`parse` reads back as this value: ``"T4"``, ``"A100-80GB-MIG-3g.40gb:2"``."""
        parts = [self.name]
        if len(self._model.sizes(self.form)) > 1:
            parts.append(self.memory)
        if self.mig is not None:
            parts += ["MIG", self.mig]
        return "-".join(parts) + (f":{self.count}" if self.count > 1 else "")

    @property
    def _model(self) -> Model:
        return read(self.name).model


def _read(value: object) -> Spelled:
    if not isinstance(value, str):
        raise ConfigurationError(
            f"an accelerator is named by a string or an Accelerator, not by {type(value).__name__}; "
            "write for example 'A100' or 'H100:4'"
        )
    return read(value)


def _agreed(what: str, in_name: str | None, given: str | None, name: str) -> str | None:
    if in_name and given and in_name != given:
        raise ConfigurationError(f"the name '{name}' and {what}='{given}' contradict each other; say it once")
    return in_name or given


def _memory(spelled: Spelled, memory: str | None, mig: str | None) -> str:
    model = spelled.model
    sizes = model.sizes(spelled.form)
    name = model.named(spelled.form)
    if not memory:
        return next((size for size in sizes if mig in model.mig.get(size, {})), sizes[0])
    if memory not in sizes:
        wanted = parse_memory(memory)
        near = min(sizes, key=lambda size: abs(parse_memory(size) - wanted))
        write = f"{name}-{near}" if len(sizes) > 1 else name
        raise ConfigurationError(f"{name} comes with {' or '.join(sizes)}, not with {memory}; write '{write}'")
    return memory


def _profile(spelled: Spelled, memory: str, mig: str | None) -> str | None:
    model = spelled.model
    if mig is None or mig in model.mig.get(memory, {}):
        return mig
    name = model.named(spelled.form)
    if not (profiles := model.mig.get(memory)):
        able = ", ".join(f"{m.name}-{size}" for m in catalogue().models.values() for size in m.mig)
        raise ConfigurationError(
            f"no MIG profiles are known for {name}-{memory}; leave mig out, or choose one of {able}"
        )
    elsewhere = [size for size in model.sizes(spelled.form) if mig in model.mig.get(size, {})]
    hint = f"'{mig}' is a profile of {name}-{elsewhere[0]}; " if elsewhere else did_you_mean(mig, tuple(profiles))
    raise ConfigurationError(f"{name}-{memory} has no MIG profile '{mig}'; {hint}Profiles: {', '.join(profiles)}")
