"""What shall be kept."""

from __future__ import annotations

from dataclasses import dataclass

from infra.housekeeping.kinds import NAMES

_DAY = 86_400.0

RUNS, LISTS, LEASES = "runs", "uses", "leases"
ALL = (RUNS, *NAMES, LISTS, LEASES)
"""All that is cleaned up, by its name."""


@dataclass(frozen=True)
class Policy:
    """What shall be kept, and of what the rest is freed."""

    keep_days: float = 30.0
    """Nothing that was used so many days ago, or later, is freed."""

    keep_runs: int = 20
    """So many finished runs of each label are kept, the newest."""

    keep_labels: frozenset[str] = frozenset()
    """All runs of these labels are kept."""

    labels: frozenset[str] = frozenset()
    """Runs of other labels are kept; empty for all labels."""

    kinds: frozenset[str] = frozenset(ALL)
    """Of what something is freed."""

    @property
    def seconds(self) -> float:
        """`keep_days` in seconds."""
        return self.keep_days * _DAY

    @property
    def younger(self) -> str:
        """Why something is kept that was used a short while ago."""
        return f"used within {self.keep_days:g} days"

    @property
    def older(self) -> str:
        """Why a run is freed."""
        parts = [f"not among the newest {self.keep_runs} of its label"] if self.keep_runs else []
        parts = [*([f"older than {self.keep_days:g} days"] if self.keep_days else []), *parts]
        return ", ".join(parts) or "nothing keeps it"
