"""Every exception that Skyward raises.

    SkywardError
    ├── ConfigurationError (ValueError)      bad input, refused before anything is bought
    ├── UsageError (RuntimeError)            a pool or a pending used in a way that cannot work
    ├── PluginError                          a plugin is broken, clashes or breaks its contract
    │   └── PluginNotInstalled (ImportError) a known plugin whose package is missing
    ├── ProvisioningError                    no machines could be had, or not in time
    │   ├── NoAvailableProviderError         no provider offers what was asked for
    │   ├── AllProvidersFailedError          every provider was tried and failed
    │   ├── ProvisionTimeout (TimeoutError)  ``provision_timeout`` ran out
    │   └── BootstrapError                   a machine could not be made ready
    ├── ProviderError                        what a provider may raise: a closed set
    │   ├── Unavailable                      no capacity: the next offer is tried
    │   ├── QuotaExceeded                    the account's limit: the next offer is tried
    │   ├── AuthenticationFailed             credentials missing or refused: stops
    │   └── Transient                        worth trying again after ``retry_after`` seconds
    ├── TaskError                            a task did not end with the function's own outcome
    │   ├── SerializationError (TypeError)   an argument, function or result does not pickle
    │   ├── TaskCancelled                    the caller cancelled it
    │   ├── TaskExit                         the function called ``sys.exit``
    │   ├── SlotDied                         its process died (signal, exit code, out of memory)
    │   ├── NodeLost                         its machine is gone
    │   ├── OutcomeUnknown                   nobody can know whether it ran
    │   └── PoolTimeout (TimeoutError)       the pool's ``timeout`` cut it off
    │       └── BudgetExhausted              it was the pool's ``budget``
    └── ProtocolError                        the two ends of a wire do not understand each other

An exception that a task raises is none of these: it arrives as itself.

Each class takes a message and keeps its further facts as attributes, so all of them survive pickling.
"""

from __future__ import annotations

__all__ = [
    "AllProvidersFailedError",
    "AuthenticationFailed",
    "BootstrapError",
    "BudgetExhausted",
    "ConfigurationError",
    "NoAvailableProviderError",
    "NodeLost",
    "OutcomeUnknown",
    "PluginError",
    "PluginNotInstalled",
    "PoolTimeout",
    "ProtocolError",
    "ProviderError",
    "ProvisionTimeout",
    "ProvisioningError",
    "QuotaExceeded",
    "SerializationError",
    "SkywardError",
    "SkywardWarning",
    "SlotDied",
    "TaskCancelled",
    "TaskError",
    "TaskExit",
    "Transient",
    "Unavailable",
    "UsageError",
]


class SkywardWarning(UserWarning):
    """Something works, but not as well or as cheaply as it could."""


class SkywardError(Exception):
    """Base of all errors of Skyward. ``message`` says the fact, then the remedy."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """What the error says."""
        return str(self.args[0]) if self.args else ""


class ConfigurationError(SkywardError, ValueError):
    """Bad input, refused before anything is bought."""


class UsageError(SkywardError, RuntimeError):
    """A pool or a pending computation is used in a way that cannot work."""


class PluginError(SkywardError):
    """A plugin is broken, clashes with another one, or breaks its contract."""


class PluginNotInstalled(PluginError, ImportError):
    """A known plugin whose distribution is not installed."""


class ProvisioningError(SkywardError):
    """The machines that were asked for could not be had."""


class NoAvailableProviderError(ProvisioningError):
    """No provider has an offer that meets the request."""


class AllProvidersFailedError(ProvisioningError):
    """Every provider was tried and each one failed."""


class ProvisionTimeout(ProvisioningError, TimeoutError):
    """The machines were not ready within ``provision_timeout``."""


class BootstrapError(ProvisioningError):
    """A machine could not be made ready.

    ``phase`` names the step, ``command`` what was run in it, ``output`` its last lines.
    """

    def __init__(self, message: str = "", *, phase: str = "", command: str = "", output: str = "") -> None:
        super().__init__(message)
        self.phase = phase
        self.command = command
        self.output = output


class ProviderError(SkywardError):
    """What a provider's session may raise. The subclass decides what core does next."""


class Unavailable(ProviderError):
    """No capacity for this offer: the next one is tried."""


class QuotaExceeded(ProviderError):
    """The account's quota forbids this offer: the next one is tried, and the quota is named.

    ``quota`` is the vendor's name of it, and ``url`` the page where it can be raised; empty where they are not known.
    """

    def __init__(self, message: str = "", *, quota: str = "", url: str = "") -> None:
        super().__init__(message)
        self.quota = quota
        self.url = url


class AuthenticationFailed(ProviderError):
    """Credentials are missing or refused. The message names the variable or file to set."""


class Transient(ProviderError):
    """A passing failure; ``retry_after`` is in seconds, ``None`` leaves the pace to core."""

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TaskError(SkywardError):
    """A task did not end with an outcome of its function. ``node`` and ``slot`` say where, when it is known."""

    def __init__(self, message: str = "", *, node: int | None = None, slot: int | None = None) -> None:
        super().__init__(message)
        self.node = node
        self.slot = slot


class SerializationError(TaskError, TypeError):
    """A function, an argument or a result cannot be pickled; ``path`` names the culprit."""

    def __init__(self, message: str = "", *, path: str = "", node: int | None = None, slot: int | None = None) -> None:
        super().__init__(message, node=node, slot=slot)
        self.path = path


class TaskCancelled(TaskError):
    """The task was cancelled by its caller."""


class TaskExit(TaskError):
    """The function called ``sys.exit``; ``code`` is what it passed."""

    def __init__(
        self, message: str = "", *, code: object = None, node: int | None = None, slot: int | None = None
    ) -> None:
        super().__init__(message, node=node, slot=slot)
        self.code = code


class SlotDied(TaskError):
    """The process that ran the task died.

    ``signal`` is the signal's number, ``exit_code`` the exit status, ``out_of_memory`` whether the kernel killed it
    for memory; what does not apply is ``None`` or ``False``.
    """

    def __init__(
        self,
        message: str = "",
        *,
        signal: int | None = None,
        exit_code: int | None = None,
        out_of_memory: bool = False,
        node: int | None = None,
        slot: int | None = None,
    ) -> None:
        super().__init__(message, node=node, slot=slot)
        self.signal = signal
        self.exit_code = exit_code
        self.out_of_memory = out_of_memory


class NodeLost(TaskError):
    """The machine that held the task is gone."""


class OutcomeUnknown(TaskError):
    """Nobody can know whether the task ran. It is run again only if ``retry`` allows it."""


class PoolTimeout(TaskError, TimeoutError):
    """The pool's ``timeout`` ended its machines while the task was running."""


class BudgetExhausted(PoolTimeout):
    """The pool's ``budget`` paid for its machines up to now, and they ended while the task was running."""


class ProtocolError(SkywardError):
    """The two ends of a connection do not understand each other."""
