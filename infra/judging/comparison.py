"""Compares two arms row by row, and over all tasks together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal, Protocol, TypeAlias

from infra.contracts.errors import ComparisonError
from infra.contracts.records import (
    ArmResult,
    Comparison,
    MetricComparison,
    MetricValue,
    Pooled,
    RowComparison,
    TaskScores,
)
from infra.contracts.specs import RunSpec
from infra.contracts.specs.verdict import own_margin
from infra.judging import statistics
from infra.judging.asked import by_question
from infra.judging.chance import Guessing, guessing, recovery
from infra.judging.corpus import corpus_effect
from infra.judging.pairing import RowPair, RunRows, same_tokenizer
from infra.judging.statistics import Effect
from infra.suite.metrics import in_points, is_corpus
from infra.suite.rows import Row

Scored: TypeAlias = list[tuple[float, float]]
"""What each row scores in the baseline and in the other one."""


class Rules(Protocol):
    """What differs between versions that judge the same rows; see `infra.report.receipt.rules`."""

    def points(
        self, metric: str, task: str, values: tuple[MetricValue, MetricValue], scored: Scored
    ) -> bool:
        """Return whether a metric has points."""

    def guessing(self, metric: str, rows: Sequence[Row], better_higher: bool) -> Guessing:
        """Return what guessing scores."""


class Declared:
    """The rules of this version: what a metric is has been declared."""

    def points(
        self, metric: str, task: str, values: tuple[MetricValue, MetricValue], scored: Scored
    ) -> bool:
        """Return whether a metric has points: it is declared so, and its rows have scores."""
        return bool(scored) and in_points(metric, task, *values)

    def guessing(self, metric: str, rows: Sequence[Row], better_higher: bool) -> Guessing:
        """Return what guessing scores; nothing is known of losses."""
        return guessing(metric, rows) if better_higher else Guessing(None)


@dataclass(frozen=True, slots=True)
class _How:
    """How rows are compared."""

    confidence: float
    rules: Rules
    margins: Mapping[str, float] = field(default_factory=dict)
    """As `VerdictSpec.margins`: metrics without points that have one are tested."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of one task, with what the pooled effect needs of it."""

    metric: MetricComparison
    effect: Effect | None
    """Other arm minus baseline; none if the rows give no basis for an interval."""

    documents: frozenset[str] = frozenset()
    """What tells the questions, without the words they were asked in."""


def compare(
    baseline: ArmResult,
    candidate: ArmResult,
    rows: RunRows,
    confidence: float = statistics.CONFIDENCE,
    rules: Rules | None = None,
    margins: Mapping[str, float] | None = None,
) -> Comparison:
    """Return every metric of every task in both arms, with the interval of its difference.

    A group gets one comparison over all its rows, and one for each subtask.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        rows: Of both arms.
        confidence: Of every interval; see `VerdictSpec`.
        rules: Of another version, for a report that it made; none takes this one's.
        margins: Those by metric, as `VerdictSpec` has them. A primary metric without points that
            has one is tested for a difference, and gets an interval if it is made of all rows
            together; nothing else depends on them.

    Raises:
        ComparisonError: The arms were not evaluated alike; names the task and the field.
    """
    found = compare_tasks(baseline.tasks, candidate.tasks, rows, confidence, rules, margins)
    size_ratio = candidate.checkpoint.size_bytes / baseline.checkpoint.size_bytes
    return Comparison(**dict(found), size_ratio=size_ratio)


def compare_tasks(
    baseline: Mapping[str, TaskScores],
    candidate: Mapping[str, TaskScores],
    rows: RunRows,
    confidence: float = statistics.CONFIDENCE,
    rules: Rules | None = None,
    margins: Mapping[str, float] | None = None,
) -> RowComparison:
    """Return what the rows of two arms show, of whose weights nothing has to be there.

    Args:
        baseline: Task → what the one arm scored.
        candidate: The same of the arm that is held against it.
        rows: Of both arms.
        confidence: Of every interval.
        rules: Of another version.
        margins: Those by metric.

    Raises:
        ComparisonError: The arms were not evaluated alike; names the task and the field.
    """
    if baseline.keys() != candidate.keys():
        raise ComparisonError(
            f"The arms were asked different tasks: {', '.join(baseline)} in the baseline, "
            f"{', '.join(candidate)} in the candidate.",
            remedy="Evaluate both arms with the same spec.",
            field="tasks",
        )
    how = _How(confidence, rules or Declared(), margins or {})
    compared: list[Compared] = []
    differ: dict[str, int] = {}
    for name, scores in baseline.items():
        pairs = rows.paired(scores, candidate[name])
        if not same_tokenizer(scores, candidate[name]):
            differ[name] = sum(
                pair.baseline.prompt_hash != pair.candidate.prompt_hash for pair in pairs
            )
        compared += _compare_task(scores, candidate[name], pairs, None, how)
    return combine(compared, confidence).model_copy(update={"prompts_differ": differ})


def compare_against(
    name: str, arms: Mapping[str, ArmResult], spec: RunSpec, rows: RunRows
) -> Comparison | None:
    """Return a candidate beside the other one that it is held against as well.

    Args:
        name: Of the candidate.
        arms: Every arm that has a result.
        spec: The run.
        rows: Of the arms.

    Returns:
        The comparison; none if it is held against no other, or that has no result.

    Raises:
        ComparisonError: The arms were not evaluated alike; names the task and the field.
    """
    other = next(one.against for one in spec.candidates if one.name == name)
    if other is None or other not in arms:
        return None
    verdict = spec.judged_verdict
    return compare(arms[other], arms[name], rows, verdict.confidence, margins=verdict.margins)


def combine(compared: Sequence[Compared], confidence: float) -> RowComparison:
    """Return all comparisons: p-values adjusted for each other, and the pooled effect.

    Args:
        compared: Every metric of every task and subtask.
        confidence: That the effects were computed at.
    """
    decisive = [one for one in compared if decides(one.metric)]
    p_values = [p for one in decisive if (p := one.metric.p_value) is not None]
    adjusted = iter(statistics.holm(p_values))
    metrics = [
        one.metric.model_copy(update={"p_adjusted": next(adjusted)})
        if decides(one.metric) and one.metric.p_value is not None
        else one.metric
        for one in compared
    ]
    return RowComparison(metrics=tuple(metrics), pooled=_pooled(decisive, confidence))


def _pooled(compared: Sequence[Compared], confidence: float) -> Pooled | None:
    tasks, effects, documents = [], [], []
    for one in compared:
        if one.effect is not None and one.metric.unit == "points":
            better = one.metric.baseline.higher_is_better
            tasks.append(one.metric.task)
            effects.append(one.effect if better else one.effect.mirrored())
            documents.append(one.documents)
    if not effects:
        return None
    # The same questions asked in another way are no new evidence: gpqa has a dozen such tasks.
    overlap = {
        (i, j): len(documents[i] & documents[j]) / math.sqrt(len(documents[i]) * len(documents[j]))
        for i, j in itertools.combinations(range(len(effects)), 2)
        if documents[i] & documents[j]
    }
    low, high = statistics.pooled_limits(effects, lambda effect: effect.limits, overlap)
    bound, _ = statistics.pooled_limits(effects, lambda effect: effect.bounds, overlap)
    rows = sum(effect.rows for effect in effects)
    return Pooled(
        tasks=tuple(tasks),
        rows=rows,
        repeats=max(one.metric.repeats for one in compared if one.metric.task in tasks),
        flip_rate=sum(effect.flips for effect in effects) / rows,
        difference=statistics.pooled_difference(effects),
        low=low,
        high=high,
        confidence=confidence,
        bound=bound,
        method=statistics.MOVER,
    )


def _compare_task(
    baseline: TaskScores,
    candidate: TaskScores,
    pairs: Sequence[RowPair],
    parent: str | None,
    how: _How,
) -> Iterator[Compared]:
    both = [metric for metric in baseline.metrics if metric in candidate.metrics]
    for metric in sorted(both, key=lambda name: name != baseline.primary_metric):
        yield _compare_metric(baseline, candidate, metric, pairs, parent, how)
    for name, subtask in baseline.subtasks.items():
        leaves = _leaves(subtask)
        members = [pair for pair in pairs if pair.baseline.task in leaves]
        yield from _compare_task(subtask, candidate.subtasks[name], members, baseline.name, how)


def _leaves(scores: TaskScores) -> set[str]:
    if not scores.subtasks:
        return {scores.name}
    return set().union(*(_leaves(subtask) for subtask in scores.subtasks.values()))


def _compare_metric(
    baseline: TaskScores,
    candidate: TaskScores,
    metric: str,
    pairs: Sequence[RowPair],
    parent: str | None,
    how: _How,
) -> Compared:
    values = baseline.metrics[metric], candidate.metrics[metric]
    pairs = _carrying(metric, values, pairs)
    # Corpus metrics (BLEU, perplexity) keep tuples or nothing in their rows.
    scored = [
        (one, other)
        for pair in pairs
        if (one := pair.baseline.score(metric)) is not None
        and (other := pair.candidate.score(metric)) is not None
    ]
    asked = by_question(pairs)
    found, method = _effect(metric, scored, values, pairs, asked, how.confidence)
    better_higher = values[0].higher_is_better
    better = 1 if better_higher else -1
    signs = [better * (other - one) for one, other in scored]
    points = how.rules.points(metric, baseline.name, values, scored)
    breach = _breach(metric, pairs) if points else ""
    points = points and not breach
    # Of rows without labels nobody can say which arm answers them better.
    primary = metric == baseline.primary_metric and baseline.submission is None
    margin = own_margin(how.margins, baseline.name, metric)
    if margin and primary and parent is None and not points and not breach:
        found, method = _tested(found, method, metric, values, pairs, asked, how.confidence)
    ratio = points and better_higher
    rows = [pair.baseline for pair in pairs]
    guessed = Guessing(values[0].chance)
    if points and guessed.chance is None:
        guessed = how.rules.guessing(metric, rows, better_higher)
    chance = guessed.chance
    low, high = found.limits if found else (None, None)
    compared = MetricComparison(
        task=baseline.name,
        subtask_of=parent,
        metric=metric,
        baseline=values[0],
        candidate=values[1],
        unit="points" if points else "value",
        breach=breach,
        difference=values[1].value - values[0].value,
        low=low,
        high=high,
        confidence=how.confidence,
        method=method,
        p_value=found.p_value if found else None,
        clusters=found.clusters if found else None,
        chance=chance,
        luck=guessed.luck,
        recovery=recovery(values[0].value, values[1].value) if ratio else None,
        recovery_above_chance=(
            recovery(values[0].value, values[1].value, chance)
            if ratio and chance is not None
            else None
        ),
        pairs=len(pairs),
        repeats=len(asked[0]) if asked else 1,
        lost=sum(sign < 0 for sign in signs),
        gained=sum(sign > 0 for sign in signs),
        changed=sum(pair.differs(metric) for pair in pairs),
        primary=primary,
    )
    if not decides(compared):
        return Compared(compared, found)
    return Compared(compared, found, frozenset(pair.baseline.question for pair in pairs))


def _carrying(
    metric: str, values: tuple[MetricValue, MetricValue], pairs: Sequence[RowPair]
) -> Sequence[RowPair]:
    """Return the pairs that a metric is of: some of them, where both arms declare to be of these.

    Whether a row carries it must not depend on what was answered: a metric of other rows in the
    one arm than in the other is of none.
    """
    part = [pair for pair in pairs if pair.baseline.score(metric) is not None]
    same = [pair for pair in pairs if pair.candidate.score(metric) is not None] == part
    return part if same and {value.n for value in values} == {len(part)} else pairs


def _breach(metric: str, pairs: Sequence[RowPair]) -> str:
    """Return the first row that does not lie between 0 and 1, as a metric in points has to."""
    for pair in pairs:
        for arm, row in (("baseline", pair.baseline), ("candidate", pair.candidate)):
            value = row.score(metric)
            if value is not None and not 0 <= value <= 1:
                return (
                    f"document {row.doc_id} of {row.task} scores {value:g} in the {arm}, "
                    f"though {metric.partition(',')[0]} is declared to lie between 0 and 1"
                )
    return ""


def _scores(
    metric: str, asked: Sequence[Sequence[RowPair]]
) -> tuple[list[list[float]], list[list[float]]]:
    """Return what each question scores in both arms, each time; all rows have a score."""
    return (
        [[pair.baseline.score(metric) or 0.0 for pair in one] for one in asked],
        [[pair.candidate.score(metric) or 0.0 for pair in one] for one in asked],
    )


def _effect(
    metric: str,
    scored: Sequence[tuple[float, float]],
    values: tuple[MetricValue, MetricValue],
    pairs: Sequence[RowPair],
    asked: Sequence[Sequence[RowPair]] | None,
    confidence: float,
) -> tuple[Effect | None, str]:
    """Return the effect and the name of its interval, or why there is none."""
    if not scored or len(scored) < len(pairs):
        return None, "none: the rows carry no score of their own"
    if is_corpus(*values):
        return None, "none: by its definition the score is not the mean of its rows"
    for arm, value in enumerate(values):
        mean = math.fsum(row[arm] for row in scored) / len(pairs)
        if not math.isclose(mean, value.value, rel_tol=1e-9, abs_tol=1e-9):
            return None, "none: the score is not the mean of its rows"
    first = [one[0] for one in asked] if asked else pairs
    subjects = [pair.baseline.subject for pair in first]
    questions = [pair.baseline.question for pair in first]
    if asked:
        found = statistics.repeated_effect(*_scores(metric, asked), confidence, subjects, questions)
    else:
        baseline, other = zip(*scored, strict=True)
        found = statistics.effect_of(baseline, other, confidence, subjects, questions)
    if found is None:
        return None, "none: too few rows differ to resample them"
    return found, found.method


def _tested(
    found: Effect | None,
    method: str,
    metric: str,
    values: tuple[MetricValue, MetricValue],
    pairs: Sequence[RowPair],
    asked: Sequence[Sequence[RowPair]] | None,
    confidence: float,
) -> tuple[Effect | None, str]:
    """Return the effect of a metric without points with a test of no difference, and its method."""
    if is_corpus(*values):
        return corpus_effect(metric, values, pairs, confidence, asked)
    if found is None or found.p_value is not None:  # rows of 0 and 1 have McNemar's
        return found, method
    import numpy as np

    arms = _scores(metric, asked or [[pair] for pair in pairs])
    one, other = (np.asarray([fmean(each) for each in arm])[:, None] for arm in arms)
    p_value = statistics.randomization_test(one, other, statistics.mean_of(len(one)))
    return replace(found, p_value=p_value), method


def decisive(comparison: RowComparison) -> list[MetricComparison]:
    """Return the comparisons a verdict rests on: each task's primary metric, no subtasks."""
    return [metric for metric in comparison.metrics if decides(metric)]


def decides(metric: MetricComparison) -> bool:
    """Return whether a comparison is of a task's primary metric, and of no subtask."""
    return metric.primary and metric.subtask_of is None


def effect(metric: MetricComparison) -> Literal["loss", "gain", "unclear"]:
    """Return on which side of zero the whole interval lies, `gain` being better."""
    if metric.low is None or metric.high is None:
        return "unclear"
    if metric.high < 0 or metric.low > 0:
        return "gain" if (metric.low > 0) == metric.baseline.higher_is_better else "loss"
    return "unclear"


def change_name(spec: RunSpec, name: str) -> str:
    """Return who is to blame or to praise for what a candidate scores.

    The recipe, if a run has no other candidate and that changes nothing else; else its name.

    Args:
        spec: The run.
        name: Of the candidate.
    """
    one = next(one for one in spec.candidates if one.name == name)
    alone = len(spec.candidates) == 1 and not (one.model or one.adapter or one.serving)
    return one.quantization.title if alone and one.quantization else name
