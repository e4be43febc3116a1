"""Metrics that are made of all rows together: which parts of their totals a row holds.

lm-eval keeps in each row what its aggregation takes: a log-likelihood and the words it is spread
over, or a reference beside an answer. Whether a score really is what is computed here is checked
against the score that was reported, in both arms: a metric of the same name may be another thing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.contracts.records import MetricValue
from infra.judging.pairing import RowPair
from infra.judging.statistics import CORPUS, Effect, paired_totals, randomization_test
from infra.judging.statistics.totals import Score

if TYPE_CHECKING:
    from infra.judging.statistics.accelerated import Array


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How rows become a metric."""

    parts: Callable[[Any], Sequence[float] | None]
    """What a row holds of the metric → its parts of the totals; none if it is something else."""

    score: Score


def aggregation_of(metric: str) -> Aggregation | None:
    """Return how rows become a metric that is no mean; none if that is not known.

    Args:
        metric: With or without its filter.
    """
    return _AGGREGATIONS.get(metric.partition(",")[0])


def corpus_effect(
    metric: str, values: tuple[MetricValue, MetricValue], pairs: Sequence[RowPair],
    confidence: float, asked: Sequence[Sequence[RowPair]] | None = None,
) -> tuple[Effect | None, str]:  # fmt: skip
    """Return what the rows show of a metric that is made of all of them, with a test.

    Args:
        metric: `<metric>,<filter>`.
        values: As they were reported, the baseline's first.
        pairs: The rows.
        confidence: Of two-sided limits and of one-sided bounds.
        asked: The same rows by their question, if some are asked several times: what is drawn and
            swapped are whole questions.

    Returns:
        The effect and the name of its interval, or why there is none.
    """
    aggregation = aggregation_of(metric)
    if aggregation is None:
        return None, "none: by its definition the score is not the mean of its rows"
    if asked is not None:
        pairs = [pair for one in asked for pair in one]
    one = _parts(aggregation, [pair.baseline.metrics.get(metric) for pair in pairs])
    other = _parts(aggregation, [pair.candidate.metrics.get(metric) for pair in pairs])
    if one is None or other is None:
        return None, "none: the rows do not hold what the score is made of"
    scores = [float(aggregation.score(parts.sum(axis=0))) for parts in (one, other)]
    if not all(
        math.isclose(score, value.value, rel_tol=1e-6)
        for score, value in zip(scores, values, strict=True)
    ):
        return None, "none: the score does not follow from its rows"
    if asked is not None:
        one, other = _by_question(one, asked), _by_question(other, asked)
    sides = (confidence, 2 * confidence - 1)
    if (ends := paired_totals(one, other, aggregation.score, sides)) is None:
        return None, "none: too few rows differ to resample them"
    found = Effect(
        rows=len(one),
        flips=int((one != other).any(axis=1).sum()),
        difference=values[1].value - values[0].value,
        limits=ends[0],
        bounds=ends[1],
        method=CORPUS,
        p_value=randomization_test(one, other, aggregation.score),
    )
    return found, CORPUS


def _by_question(parts: Array, asked: Sequence[Sequence[RowPair]]) -> Array:
    """Return the parts of the totals that each question holds; its rows lie together."""
    import numpy as np

    sizes = [len(one) for one in asked]
    return np.add.reduceat(parts, [0, *np.cumsum(sizes)[:-1]], axis=0)


def _parts(aggregation: Aggregation, rows: Sequence[Any]) -> Array | None:
    import numpy as np

    found = [aggregation.parts(row) for row in rows]
    if not found or any(parts is None for parts in found):
        return None
    return np.asarray(found, dtype=float)


def _weighted(row: Any) -> Sequence[float] | None:
    """Return log-likelihood and weight."""
    if not isinstance(row, list | tuple) or len(row) != 2:
        return None
    return row if all(isinstance(part, int | float) for part in row) else None


def _alone(row: Any) -> Sequence[float] | None:
    return (row, 1.0) if isinstance(row, int | float) else None


def _answered(row: Any) -> tuple[list[str], str] | None:
    """Return references and answer, as lm-eval hands them to sacrebleu."""
    if not isinstance(row, list | tuple) or len(row) != 2:
        return None
    references = row[0] if isinstance(row[0], list | tuple) else [row[0]]
    answers = row[1] if isinstance(row[1], list | tuple) else [row[1]]
    texts = [*references, *answers]
    if len(answers) != 1 or not references or not all(isinstance(text, str) for text in texts):
        return None
    return list(references), answers[0]


def _bleu(row: Any) -> Sequence[float] | None:
    """Return lengths, and n-grams that match and that there are."""
    from sacrebleu.metrics.bleu import BLEU

    if (texts := _answered(row)) is None:
        return None
    found = BLEU(effective_order=True).sentence_score(texts[1], texts[0])
    return [found.sys_len, found.ref_len, *found.counts, *found.totals]


def _bleu_score(totals: Array) -> Array:
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU

    def score(line: Array) -> float:
        system, reference, *ngrams = (round(part) for part in line)
        half = len(ngrams) // 2
        made = BLEU.compute_bleu(
            ngrams[:half], ngrams[half:], system, reference, smooth_method="exp"
        )
        return float(made.score)

    return np.asarray(np.apply_along_axis(score, -1, totals))


def _ter(row: Any) -> Sequence[float] | None:
    """Return edits, and the mean length of the references."""
    from sacrebleu.metrics.ter import TER

    if (texts := _answered(row)) is None:
        return None
    found = TER().sentence_score(texts[1], texts[0])
    return [found.num_edits, found.ref_length]


def _perplexity(totals: Array) -> Array:
    import numpy as np

    return np.asarray(np.exp(-totals[..., 0] / totals[..., 1]))


def _bits(totals: Array) -> Array:
    return -totals[..., 0] / totals[..., 1] / math.log(2)


def _error_rate(totals: Array) -> Array:
    return 100 * totals[..., 0] / totals[..., 1]


_AGGREGATIONS = {
    "word_perplexity": Aggregation(_weighted, _perplexity),
    "byte_perplexity": Aggregation(_weighted, _perplexity),
    "bits_per_byte": Aggregation(_weighted, _bits),
    "perplexity": Aggregation(_alone, _perplexity),
    "bleu": Aggregation(_bleu, _bleu_score),
    "ter": Aggregation(_ter, _error_rate),
}
"""lm-eval's metrics that are made of totals, as its aggregations of these names make them."""
