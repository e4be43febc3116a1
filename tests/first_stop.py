"""Where the sequential test would end a run of tasks, were it looked at after every row.

A run looks at it when answers have come, in whatever portions; simulations look after each row,
which is when it errs most often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from infra.judging.sequential import _log_capital, _running_counts


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the test may end the asking."""

    rows: int
    """That had been answered by then; all of them if it did not end."""

    outcome: Literal["PASS", "FAIL"] | None
    """None if the rows ran out first."""


def first_stop(differences: Sequence[int], margin: float, confidence: float = 0.95) -> Stop:
    """Return the first row at which the verdict is certain.

    PASS as soon as the one-sided lower limit lies above minus the margin. FAIL as soon as the
    two-sided interval lies below zero, with an observed loss of at least the margin: a smaller one
    may still turn out to be acceptable.

    Args:
        differences: Quantized minus base of each row, -1, 0 or 1, in shuffled order.
        margin: Acceptable loss, as a share of the rows.
        confidence: See `VerdictSpec`. Under no change a FAIL at any time has at most half the
            chance `1 - confidence`, a PASS at a true loss of the margin at most all of it.
    """
    counts = _running_counts(differences)
    passed = _log_capital(counts, -margin) >= -np.log(1 - confidence)
    mirrored = counts[:, ::-1]
    seen = np.arange(1, len(counts) + 1)
    lost = counts[:, 0] - counts[:, 2] >= margin * seen
    failed = (_log_capital(mirrored, 0.0) >= -np.log((1 - confidence) / 2)) & lost
    for row in np.flatnonzero(passed | failed):
        return Stop(int(row) + 1, "PASS" if passed[row] else "FAIL")
    return Stop(len(counts), None)
