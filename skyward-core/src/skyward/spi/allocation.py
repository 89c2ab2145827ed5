"""The contract of an allocation strategy: what is offered, divided among the machines that are needed."""

from __future__ import annotations

from skyward.model.allocation import AllocationStrategy, Candidate, Tranche

__all__ = ["AllocationStrategy", "Candidate", "Tranche"]
