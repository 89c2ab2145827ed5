"""Whether settings make sense: said before anything is bought."""

from __future__ import annotations

from difflib import get_close_matches

__all__ = ["backend_of", "demand_backend"]

_BACKENDS = ("jax", "tensorflow", "torch")
_FOR = {"wheels": "torch", "cuda": "jax"}
"""Settings that are those of one backend's integration."""


def _refusal(text: str) -> Exception:
    from skyward import ConfigurationError

    return ConfigurationError(text)


def backend_of(value: object) -> str:
    """A backend's name; raises ``ConfigurationError`` for others than Keras trains with."""
    name = value.strip().lower() if isinstance(value, str) else ""
    if name not in _BACKENDS:
        near = get_close_matches(name, _BACKENDS, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise _refusal(
            f"backend={value!r} is none of Keras' backends for training: {meant}use 'jax', 'tensorflow' or 'torch'"
        )
    return name


def demand_backend(backend: str, **settings: object) -> None:
    """Refuse a setting that the backend's integration does not have; ``None`` is none.

    Raises:
        ConfigurationError: with the remedy.
    """
    for name, value in settings.items():
        if value is not None and backend != _FOR[name]:
            raise _refusal(
                f"{name}={value!r} is for backend={_FOR[name]!r}, and this is for {backend!r}: leave it out, or give "
                f"backend={_FOR[name]!r}"
            )
