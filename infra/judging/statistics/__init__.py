"""Paired statistics: two arms answered the same rows, so each row is its own control.

paired     intervals and tests of one task's rows
accelerated  bootstrap limits of scores whose jackknife is found at once
clustered  the same for rows that come in subjects
effects    which of them, and what they give
pooling    one effect over several tasks
family     many tests at once
planning   what a number of rows can show; planning_repeats, of questions that are asked again
repeated   the same for questions that are asked several times each
totals     intervals and tests of scores that are made of all rows together
poisson_binomial  how many of several events happen
"""

from __future__ import annotations

from infra.judging.statistics.clustered import CLUSTERED, FEWEST_SUBJECTS, REPEATED, clustered_mean
from infra.judging.statistics.effects import Effect, amounts_limits, binary_effect, effect_of
from infra.judging.statistics.family import holm
from infra.judging.statistics.paired import (
    AMOUNTS,
    BOOTSTRAP,
    CONFIDENCE,
    TANGO,
    PairedCounts,
    exact_mcnemar,
    paired_amounts,
    paired_means,
    paired_proportions,
)
from infra.judging.statistics.planning import (
    paired_power,
    rows_for_drop,
    rows_for_margin,
    rows_for_room,
    smallest_drop,
    smallest_margin,
)
from infra.judging.statistics.planning_repeats import (
    Asked,
    questions_for_margin,
    smallest_drop_of,
    smallest_margin_of,
)
from infra.judging.statistics.poisson_binomial import POISSON_BINOMIAL, poisson_binomial_limits
from infra.judging.statistics.pooling import MOVER, pooled_difference, pooled_limits
from infra.judging.statistics.repeated import (
    BY_QUESTION,
    QUESTIONS,
    correlation,
    effective_rows,
    question_limits,
    repeated_effect,
)
from infra.judging.statistics.totals import (
    CORPUS,
    RANDOMIZATION,
    mean_of,
    paired_totals,
    randomization_test,
)

__all__ = [
    "AMOUNTS",
    "BOOTSTRAP",
    "BY_QUESTION",
    "CLUSTERED",
    "CONFIDENCE",
    "CORPUS",
    "FEWEST_SUBJECTS",
    "MOVER",
    "POISSON_BINOMIAL",
    "QUESTIONS",
    "RANDOMIZATION",
    "REPEATED",
    "TANGO",
    "Asked",
    "Effect",
    "PairedCounts",
    "amounts_limits",
    "binary_effect",
    "clustered_mean",
    "correlation",
    "effect_of",
    "effective_rows",
    "exact_mcnemar",
    "holm",
    "mean_of",
    "paired_amounts",
    "paired_means",
    "paired_power",
    "paired_proportions",
    "paired_totals",
    "poisson_binomial_limits",
    "pooled_difference",
    "pooled_limits",
    "question_limits",
    "questions_for_margin",
    "randomization_test",
    "repeated_effect",
    "rows_for_drop",
    "rows_for_margin",
    "rows_for_room",
    "smallest_drop",
    "smallest_drop_of",
    "smallest_margin",
    "smallest_margin_of",
]
