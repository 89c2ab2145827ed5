"""Skyward's pools as a backend of joblib, and so of scikit-learn."""

from __future__ import annotations

__all__: list[str] = []
