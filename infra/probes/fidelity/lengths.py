"""How long the written answers are, and how many never end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Any

from infra.contracts.records import AnswerLengths, ArmResult, Side, TaskScores
from infra.suite.rows import read_rows

_AT_A_TIME = 1024
"""Answers that are made into tokens at a time."""


def lengths(
    baseline: ArmResult, candidate: ArmResult, folder: Path, tokenizer: Any
) -> dict[str, dict[Side, AnswerLengths]]:
    """Return the lengths of both arms' answers, of every task that lets the model write.

    A task that only scores given choices is left out. Tokens are those of the kept text: what came
    after a stop string, and the token that ended it, are not in it.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        folder: The run's folder, which holds the sample rows of both.
        tokenizer: Of the model; both arms have the same.
    """
    arms: dict[Side, ArmResult] = {"baseline": baseline, "candidate": candidate}
    found: dict[str, dict[Side, AnswerLengths]] = {}
    for arm, result in arms.items():
        for name, scores in result.tasks.items():
            if measured := _measured(scores, folder, tokenizer):
                found.setdefault(name, {})[arm] = measured
    return found


def _measured(scores: TaskScores, folder: Path, tokenizer: Any) -> AnswerLengths | None:
    texts: list[str] = []
    endless = 0
    for row in read_rows(folder / scores.samples, scores.name):
        written = list(_written(row.responses))
        texts += written
        endless += bool(written and row.truncated)
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
    )


def _written(responses: Any) -> Iterator[str]:
    """Yield the texts among the answers; log-likelihoods are numbers."""
    if isinstance(responses, str):
        yield responses
    elif isinstance(responses, list):
        for response in responses:
            yield from _written(response)
