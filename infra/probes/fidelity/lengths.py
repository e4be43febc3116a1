"""How long the written answers are, how many never end, and what a right one costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from statistics import fmean, median
from typing import Any, TypeAlias

from infra.contracts.records import AnswerLengths, ArmResult, Side, TaskScores, TokensPerRight
from infra.scoring.ways import texts_of
from infra.suite.metrics import in_points
from infra.suite.rows import Row

_AT_A_TIME = 1024
"""Answers that are made into tokens at a time."""

_DRAWS, _SEED, _TAIL = 2000, 20260101, 0.025
"""Of the bootstrap, and the share beyond each end of its interval: 95 % lie within."""

RowsOf: TypeAlias = Callable[[TaskScores], Iterable[Row]]


def lengths(
    baseline: ArmResult, candidate: ArmResult, rows_of: RowsOf, tokenizer: Any
) -> dict[str, dict[Side, AnswerLengths]]:
    """Return the lengths of both arms' answers, of every task that lets the model write.

    A task that only scores given choices is left out. Tokens are those of the kept text: what came
    after a stop string, and the token that ended it, are not in it.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        rows_of: Returns the rows of a task in one arm.
        tokenizer: Of the model; both arms have the same.
    """
    arms: dict[Side, ArmResult] = {"baseline": baseline, "candidate": candidate}
    found: dict[str, dict[Side, AnswerLengths]] = {}
    for arm, result in arms.items():
        for name, scores in result.tasks.items():
            if measured := _measured(scores, rows_of(scores), tokenizer):
                found.setdefault(name, {})[arm] = measured
    return found


def _measured(scores: TaskScores, rows: Iterable[Row], tokenizer: Any) -> AnswerLengths | None:
    texts: list[str] = []
    marks: list[float | None] = []
    written_of: list[int] = []
    questions: list[tuple[str, int]] = []
    endless = 0
    for row in rows:
        written = [text for one in _written(row.responses) for text in texts_of(row.doc, one)]
        texts += written
        endless += bool(written and row.truncated)
        marks.append(row.score(scores.primary_metric))
        written_of.append(len(written))
        questions.append((row.task, row.doc_id))
    if not texts:
        return None
    tokens: list[int] = []
    for start in range(0, len(texts), _AT_A_TIME):
        part = texts[start : start + _AT_A_TIME]
        encoded = tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"]
        tokens += map(len, encoded)
    return AnswerLengths(
        answers=len(texts),
        tokens_mean=fmean(tokens),
        tokens_median=median(tokens),
        endless=endless,
        per_right=_of_rows(tokens, written_of, marks, questions) if _in_points(scores) else None,
    )


def _in_points(scores: TaskScores) -> bool:
    value = scores.metrics.get(scores.primary_metric)
    return value is not None and in_points(scores.primary_metric, scores.name, value)


def _of_rows(
    tokens: Sequence[int],
    written_of: Sequence[int],
    marks: Sequence[float | None],
    questions: Sequence[tuple[str, int]],
) -> TokensPerRight | None:
    """Return what a right answer costs, with the answers to each question added up."""
    left = iter(tokens)
    costs: Counter[tuple[str, int]] = Counter()
    rights: dict[tuple[str, int], float] = {}
    for question, count, mark in zip(questions, written_of, marks, strict=True):
        if mark is None:
            return None
        costs[question] += sum(islice(left, count))
        rights[question] = rights.get(question, 0.0) + mark
    return per_right([costs[question] for question in rights], [*rights.values()])


def per_right(costs: Sequence[int], marks: Sequence[float]) -> TokensPerRight | None:
    """Return the tokens that a right answer costs; none if no answer is right.

    The interval is the percentile bootstrap over questions of the ratio of both sums (Efron and
    Tibshirani 1993, chapter 13), with draws that are the same each time.

    Args:
        costs: Tokens of each question's answers.
        marks: From 0 to 1 for each time it was asked, added up, in the same order.
    """
    import numpy as np

    cost, mark = np.asarray(costs, float), np.asarray(marks, float)
    if not mark.sum():
        return None
    draw = np.random.default_rng(_SEED)
    rows = len(cost)
    ratios = np.full(_DRAWS, np.inf)
    for number in range(_DRAWS):  # one after the other: together they take memory by the gigabyte
        picked = draw.integers(0, rows, rows)
        if right := mark[picked].sum():
            ratios[number] = cost[picked].sum() / right
    low, high = np.quantile(ratios, [_TAIL, 1 - _TAIL], method="nearest")
    return TokensPerRight(
        tokens=float(cost.sum() / mark.sum()),
        low=float(low),
        high=float(high) if np.isfinite(high) else None,
    )


def _written(responses: Any) -> Iterator[str]:
    """Yield the texts among the answers; log-likelihoods are numbers."""
    if isinstance(responses, str):
        yield responses
    elif isinstance(responses, list):
        for response in responses:
            yield from _written(response)
