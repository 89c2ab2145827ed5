"""A pool's parameters, checked before anything is bought."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, cast

from attrs import field, frozen

from skyward._callbacks import checked
from skyward._choice import Choice
from skyward._handles import SELECTORS
from skyward._spending import Limits
from skyward.errors import ConfigurationError
from skyward.model.allocation import AllocationLike, AlwaysSpot, parse_allocation
from skyward.model.image import Image, Variables
from skyward.model.memory import parse_memory
from skyward.model.nearest import did_you_mean
from skyward.model.spec import ComputeSpec

if TYPE_CHECKING:
    from skyward._events import Callback  # noqa: TC004  nothing reads these hints at run time
    from skyward.model.accelerator import Accelerator
    from skyward.model.allocation import AllocationStrategy  # noqa: TC004  as above
    from skyward.model.volume import Volume
    from skyward.spi.integration import Integration  # noqa: TC004  as above
    from skyward.spi.provider import Opens, Provider  # noqa: TC004  as above
    from skyward.spi.selector import Selector  # noqa: TC004  as above

__all__ = ["PoolOptions", "ProviderLike", "SelectionLike", "check_options"]

type ProviderLike = Opens | Sequence[Opens]
"""One provider, or several to choose from."""

type SelectionLike = str | Callable[[tuple[Any, ...], ComputeSpec], Any]
"""A selector's name, core's own or a plugin's, or a synchronous callable ``(providers, spec) -> provider``."""

DISPLAYS = ("log", "spinner", "quiet")

_ELSEWHERE = {
    **dict.fromkeys(
        ("max_workers", "workers", "n_workers", "n_jobs"),
        "as many calls run at a time as there are slots; give nodes=... and concurrency=..., the slots of each",
    ),
    "initializer": "give what each node needs by image=sky.Image(...), or prepare it in the function itself",
}
"""What other libraries call their parameters, and what stands in their place."""


@frozen(kw_only=True)
class PoolOptions:
    """What a pool was asked for, each value in its final form."""

    providers: tuple[Provider, ...]
    selection: Choice[Selector]
    spec: ComputeSpec
    allocation: Choice[AllocationStrategy]
    environment: Variables
    display: str
    on_event: Callback | None
    collect_metrics: bool
    provision_timeout: float
    lease: float | Literal["provider"] | None
    plugins: tuple[Integration, ...]
    limits: Limits = field(factory=Limits)
    image_here: Image | None = None
    """The image for machines that run in the client's environment, where it is another than ``spec.image``."""
    preload: tuple[str, ...] = ()
    """Modules that each slot imports as soon as it is started."""


def check_options(
    known: Sequence[str],
    *,
    provider: ProviderLike | None,
    selection: SelectionLike,
    image: Image | None,
    nodes: int,
    machine: str | None,
    accelerator: str | Accelerator | None,
    cpu: int | None,
    memory: str | None,
    volume: Sequence[Volume] | None,
    allocation: AllocationLike,
    max_hourly_cost: float | None,
    budget: float | None,
    timeout: float | None,
    env: Mapping[str, str] | None,
    concurrency: int,
    display: str,
    on_event: Callback | None,
    collect_metrics: bool,
    provision_timeout: float,
    lease: float | Literal["provider"] | None,
    plugins: Sequence[Integration],
    unknown: Mapping[str, object],
) -> PoolOptions:
    """Turn what the user wrote into options.

    Raises:
        ConfigurationError: something cannot work; it says what, and what to write instead.
    """
    for name in unknown:
        remedy = f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else did_you_mean(name, known)
        raise ConfigurationError(f"a pool has no parameter {name!r}{remedy}")
    picture = _instance("image", Image() if image is None else image, Image, "sky.Image(pip=[...])")
    device = None if accelerator is None else _accelerator(accelerator)
    slots = _count("concurrency", concurrency)
    if device is not None and device.mig is not None and slots == 1:
        slots = device.worker_count
    _machine(machine)
    if on_event is not None:
        _callback(on_event)
    spec = ComputeSpec(
        nodes=_count("nodes", nodes),
        image=picture,
        machine=machine,
        accelerator=device,
        cpu=None if cpu is None else _count("cpu", cpu),
        memory_gb=None if memory is None else parse_memory(memory),
        concurrency=slots,
        volumes=_volumes(volume),
        timeout=None if timeout is None else _seconds("timeout", timeout, "for no limit"),
    )
    providers = _providers(provider)
    for chosen in providers:
        if spec.volumes and not chosen.capabilities.volumes:
            raise ConfigurationError(
                f"{chosen.name} cannot mount volumes; leave volume=... out and read the data in the function itself"
            )
    chosen_allocation = _allocation(allocation)
    _sold(chosen_allocation, providers)
    return PoolOptions(
        providers=providers,
        selection=_selection(selection),
        spec=spec,
        allocation=chosen_allocation,
        environment=_environment(env),
        display=_choice("display", display, DISPLAYS),
        on_event=on_event,
        collect_metrics=_flag("collect_metrics", collect_metrics),
        provision_timeout=_seconds("provision_timeout", provision_timeout),
        lease=lease if lease is None or lease == "provider" else _seconds("lease", lease, "to outlive the client"),
        plugins=_plugins(plugins),
        limits=Limits(
            max_hourly_cost=_dollars("max_hourly_cost", max_hourly_cost, " for an hour of all machines together"),
            budget=_dollars("budget", budget, " for all that the pool may cost"),
        ),
    )


def _providers(value: ProviderLike | None) -> tuple[Provider, ...]:
    from skyward.spi.provider import Provider

    if value is None:
        from skyward._local import Local

        return (Local(),)
    found = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not found:
        raise ConfigurationError("provider is an empty list; give at least one, such as sky.Local()")
    for provider in found:
        if isinstance(provider, type):
            raise ConfigurationError(f"provider is the class {provider.__name__}; call it: sky.{provider.__name__}()")
        if isinstance(provider, str):
            raise ConfigurationError(f"provider is the string {provider!r}; give a provider, such as sky.Local()")
        if not isinstance(provider, Provider):
            raise ConfigurationError(f"provider is {provider!r}, which is none; give one, such as sky.Local()")
    return found


def _machine(value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"machine is {value!r}; give the provider's name of a machine, such as 'p5.48xlarge'")


def _selection(value: object) -> Choice[Selector]:
    if isinstance(value, str):
        from skyward import _plugins as installed

        return Choice(installed.selector(value), value)
    for name, selector in SELECTORS.items():
        if value is selector:  # sky.select_cheapest is "cheapest"
            return Choice(selector, name)
    if not callable(value) or isinstance(value, type):
        raise ConfigurationError(f"selection is {value!r}; give 'first', 'cheapest', 'available' or a function")
    if inspect.iscoroutinefunction(value):
        name = getattr(value, "__name__", repr(value))
        raise ConfigurationError(f"selection is the coroutine function {name}; give a plain one: nothing awaits it")
    return Choice(cast("Selector", value))


def _allocation(value: AllocationLike) -> Choice[AllocationStrategy]:
    if isinstance(value, str):
        from skyward import _plugins as installed

        return Choice(installed.allocation(value), value)
    return Choice(parse_allocation(value))


def _sold(allocation: Choice[AllocationStrategy], providers: Sequence[Provider]) -> None:
    """Refuse an allocation that asks for spot machines where nobody sells any."""
    if isinstance(allocation.value, AlwaysSpot) and not any(each.capabilities.spot for each in providers):
        names = " and ".join(dict.fromkeys(provider.name for provider in providers))
        raise ConfigurationError(
            f"allocation {allocation.title!r} asks for spot machines, and {names} sells none; leave it out to buy "
            "what is not sold on spot on demand, or add a provider that sells them"
        )


def _callback(value: object) -> None:
    if not callable(value):
        raise ConfigurationError(f"on_event is {value!r}; give a function that takes an event")
    checked(value)


def _choice(name: str, value: object, known: Sequence[str]) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise ConfigurationError(f"{name} is {value!r}{did_you_mean(str(value), known)}")


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise ConfigurationError(f"{name} is {value!r}; give a whole number from 1")
    if operator.index(value) < 1:
        raise ConfigurationError(f"{name} is {value}; give at least 1")
    return operator.index(value)


def _seconds(name: str, value: object, without: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        alternative = f", or None {without}" if without else ""
        raise ConfigurationError(f"{name} is {value!r}; give a positive number of seconds{alternative}")
    return float(value)


def _dollars(name: str, value: object, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(
            f"{name} is {value!r}; give a positive number of US dollars{what}, or None for no limit"
        )
    return float(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} is {value!r}; give True or False")
    return value


def _accelerator(value: object) -> Accelerator:
    from skyward.model.accelerator import Accelerator  # the catalogue is read for those who ask for a device

    if not isinstance(value, (str, Accelerator)):
        raise ConfigurationError(f"accelerator is {value!r}; give a name such as 'A100', or sky.accelerators.A100()")
    return Accelerator.parse(value)


def _instance[T](name: str, value: object, kind: type[T], example: str) -> T:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name} is {value!r}; give one such as {example}")
    return value


def _volumes(value: Sequence[Volume] | None) -> tuple[Volume, ...]:
    if value is None:
        return ()
    from skyward.model.volume import S3Volume

    found = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for volume in found:
        _instance("volume", volume, S3Volume, "sky.S3Volume(mount_path='/data', bucket='name')")
    return found


def _environment(value: object) -> Variables:
    if value is None:
        return Variables()
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"env is of type {type(value).__name__}; give a mapping, such as {{'NAME': 'value'}}")
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ConfigurationError(f"env has the name {name!r}; give a variable's name")
        if not isinstance(text, str):
            raise ConfigurationError(f"env[{name!r}] is of type {type(text).__name__}; give a string: str(...)")
        if "\0" in text:
            raise ConfigurationError(f"env[{name!r}] has a zero byte, which no environment can hold; leave it out")
    return Variables(value)


def _plugins(value: Sequence[Integration]) -> tuple[Integration, ...]:
    return tuple(map(_integration, value if isinstance(value, (list, tuple)) else (value,)))


def _integration(plugin: Integration) -> Integration:
    """An integration; what makes one when it is called without arguments may be given uncalled."""
    if not callable(plugin):
        raise ConfigurationError(f"plugins has {plugin!r}; give integrations, such as sky.integrations.torch()")
    if isinstance(plugin, type):
        raise ConfigurationError(f"plugins has the class {plugin.__name__}; call it: {plugin.__name__}()")
    made: object = cast("Callable[[], object]", plugin)() if _takes_nothing(plugin) else plugin
    if callable(made):
        return cast("Integration", made)
    raise ConfigurationError(f"plugins has {plugin!r}, which makes {made!r}; give integrations, which can be called")


def _takes_nothing(plugin: Callable[..., object]) -> bool:
    """Whether it is a function that can be called without arguments, as an integration cannot, which needs a function.

    An object that can be called so as well has its settings already, and is an integration itself.
    """
    if not inspect.isroutine(plugin):
        return False
    try:
        signature = inspect.signature(plugin)
        signature.bind()
    except (TypeError, ValueError):  # it needs something, or does not tell
        return False
    return all(each.kind is not inspect.Parameter.VAR_POSITIONAL for each in signature.parameters.values())
