"""Calling the hooks by which plugins change and observe a pool, each within its limits and by its own name.

A `Hook` is one plugin's function, so that whatever goes wrong can be laid at the door of that plugin. Without plugins
there are none, and nothing here costs anything.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve, frozen

from skyward.errors import ConfigurationError, PluginError
from skyward.model.image import Image

if TYPE_CHECKING:
    from skyward._callbacks import Callback
    from skyward.model.bootstrap import Step
    from skyward.model.events import SkywardEvent
    from skyward.model.instance import Instance
    from skyward.model.spec import ComputeSpec

__all__ = ["LIMIT", "Aside", "Hook", "Hooks", "within_limit"]

LIMIT = 30.0
"""Seconds that a plugin's function may take."""


async def within_limit[T](
    work: Callable[[], T], mistake: Callable[[str], PluginError], *, passes: tuple[type[BaseException], ...] = ()
) -> T:
    """Do ``work``, which is a plugin's, on a thread of its own, and wait for that.

    Args:
        work: what to do.
        mistake: gives the error for what went wrong, in words that follow a subject.
        passes: errors of ``work`` that are no mistakes, and go on as they are.

    Raises:
        PluginError: it raised anything else, or took too long.
    """

    def guarded() -> tuple[Any, BaseException | None]:
        try:
            return work(), None
        except BaseException as error:  # noqa: BLE001  also sys.exit() is no more than this plugin's mistake
            return None, error

    try:
        async with asyncio.timeout(LIMIT):
            answer, error = await asyncio.get_running_loop().run_in_executor(Aside(), guarded)
    except TimeoutError as late:
        raise mistake(f"has not returned after {LIMIT:g} s") from late
    if isinstance(error, passes):
        raise error
    if error is not None:
        raise mistake(f"failed with {type(error).__name__}: {error}") from error
    return cast("T", answer)


@frozen
class Hook:
    """One plugin's implementation of a hook.

    Attributes:
        name: of the hook.
        plugin: distribution and version.
        function: what to call.
        takes: the arguments that it wants, in its order.
    """

    name: str
    plugin: str
    function: Callable[..., object]
    takes: tuple[str, ...]

    def call(self, **arguments: object) -> Any:
        """Call it here and now."""
        return self.function(*(arguments[name] for name in self.takes))

    async def ask(self, read: Callable[[Any], Any], **arguments: object) -> Any:
        """Call it, and ``read`` with its answer, on a thread of its own, and wait for that.

        Raises:
            PluginError: it raised anything, or took too long.
        """
        return await within_limit(lambda: read(self.call(**arguments)), self.mistake)

    def mistake(self, what: str) -> PluginError:
        """The error that reports a mistake of this plugin."""
        distribution = self.plugin.partition(" ")[0]
        return PluginError(
            f"{self.name} of {self.plugin} {what}; this is a bug of {self.plugin}: report it there, or set "
            f"SKYWARD_DISABLE_PLUGINS={distribution}"
        )

    @property
    def callback(self) -> Callback:
        """For a bus: a callback that is known by the hook and the plugin."""

        def callback(event: SkywardEvent) -> None:
            self.call(event=event)

        callback.__module__ = ""
        callback.__qualname__ = f"{self.name} of {self.plugin}"
        return callback


@frozen
class Hooks:
    """The hooks of all active plugins, each sort in the order in which they are called."""

    images: tuple[Hook, ...] = ()
    steps: tuple[Hook, ...] = ()
    observers: tuple[Hook, ...] = ()

    async def prepared(self, spec: ComputeSpec) -> ComputeSpec:
        """The request with the image that the plugins make of it.

        Raises:
            PluginError: one of them fails, takes too long, or gives what is no usable image.
        """
        for hook in self.images:
            image = await hook.ask(lambda answer: answer, image=spec.image, spec=spec)
            if image is None:
                continue
            if not isinstance(image, Image):
                raise hook.mistake(f"returned {image!r}, which is neither an Image nor None")
            try:
                image.check()
            except ConfigurationError as error:
                raise hook.mistake(f"returned an image that cannot be used: {error}") from error
            spec = evolve(spec, image=image)
        return spec

    async def extra_steps(self, image: Image, instance: Instance) -> tuple[Step, ...]:
        """What plugins add to the bootstrap of a machine.

        Raises:
            PluginError: one of them fails, takes too long, or gives what is no step.
        """
        if not self.steps:
            return ()
        from skyward.model.bootstrap import Step

        found: list[Step] = []
        for hook in self.steps:
            # A generator runs while it is read, so that is part of the call.
            answer = await hook.ask(_listed, image=image, instance=instance)
            for step in answer:
                if not isinstance(step, Step):
                    raise hook.mistake(f"returned {step!r}, which is no Step")
                found.append(evolve(step, origin=hook.plugin))
        return tuple(found)


def _listed(answer: Any) -> tuple[Any, ...]:
    return () if answer is None else tuple(answer)


class Aside(concurrent.futures.Executor):
    """Runs each call on a daemon thread of its own, so that one that never returns holds up nothing, not even the
    end of the program.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Start it."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    answer = fn(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to whoever waits
                    future.set_exception(error)
                else:
                    future.set_result(answer)

        threading.Thread(target=work, name="skyward-hook", daemon=True).start()
        return future
