"""Picks the rows a report shows, and takes them apart for reading.

The page must open quickly however many rows there are, so it shows a few rows whole and names
the file that holds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.contracts.records import CloseRow, Pair, TaskScores
from infra.judging.pairing import RowPair, paired_rows
from infra.machine.garbage import uncollected
from infra.suite.rows import Row, choice_likelihoods

SAMPLES = 10
"""Rows shown of every task that generates text: the first ones, not chosen ones."""

FLIPS = 50
"""Rows shown of every task in which one arm is right and the other wrong."""

_LONGEST_CONTEXT = 20_000
_TAIL = 1_200
_QUESTIONS = {"question", "query", "problem"}
_LONGEST_LABEL = 6


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a multiple-choice question, as both arms saw it."""

    label: str
    text: str
    baseline: float
    candidate: float
    """Log-likelihoods, nats."""

    baseline_pick: bool
    candidate_pick: bool
    right: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """One row, ready to be shown."""

    row: Row
    context: str
    """Instruction and worked examples before the question; may be empty."""

    question: str
    title: str
    """The question in the document's own words, without what the prompt puts around it."""

    target: str
    baseline_score: float | None
    candidate_score: float | None
    baseline_text: str
    candidate_text: str
    """What the model wrote, whole; empty for multiple choice."""

    baseline_answer: str
    candidate_answer: str
    """What the filter took out of it."""

    baseline_cut: bool
    candidate_cut: bool
    """True if the answer ran into the token limit."""

    choices: tuple[Choice, ...]
    """Empty unless multiple choice."""

    @property
    def outcome(self) -> str:
        """Return `lost`, `gained` or `same`."""
        if self.baseline_score is None or self.candidate_score is None:
            return "same"
        change = self.candidate_score - self.baseline_score
        return "lost" if change < 0 else "gained" if change > 0 else "same"


@dataclass(frozen=True, slots=True)
class TaskRows:
    """What the report shows of one task's rows."""

    task: str
    metric: str
    samples: tuple[Shown, ...]
    flips: tuple[Shown, ...]
    """Lost rows first, then gained ones."""

    closest: tuple[Shown, ...]
    """Rows with choices that are closest to flipping, the likeliest first."""

    lost: int
    gained: int
    total: int
    repeats: int
    """How often each question was asked."""

    links: tuple[tuple[str, str], ...]
    """Arm → address of its samples file, relative to the page."""


@uncollected()
def rows_of(pair: Pair, folder: Path) -> list[TaskRows]:
    """Return the rows to show of every task.

    Args:
        pair: The run.
        folder: Its folder, which holds the samples files.

    Raises:
        ComparisonError: The samples files are not those the report was made from.
    """
    baseline, candidate = pair.baseline.tasks, pair.candidate.tasks
    gaps = pair.comparison.gaps
    close = {name: of.closest for name, of in gaps.tasks.items()} if gaps else {}
    return [
        _rows_of(scores, candidate[name], close.get(name, ()), folder)
        for name, scores in baseline.items()
    ]


def _rows_of(
    baseline: TaskScores, candidate: TaskScores, close: Sequence[CloseRow], folder: Path
) -> TaskRows:
    metric = baseline.primary_metric
    better: Callable[[float, float], bool] = (
        float.__gt__ if baseline.metrics[metric].higher_is_better else float.__lt__
    )
    pairs = paired_rows(baseline, candidate, folder)
    lost: list[RowPair] = []
    gained: list[RowPair] = []
    for pair in pairs:
        one, other = _number(pair.baseline.metrics, metric), _number(pair.candidate.metrics, metric)
        if one is not None and other is not None and one != other:
            (lost if better(one, other) else gained).append(pair)
    named = {(pair.baseline.task, pair.baseline.doc_id): pair for pair in pairs} if close else {}
    generates = bool(pairs) and _likelihoods(pairs[0].baseline, metric) is None
    return TaskRows(
        task=baseline.name,
        metric=metric,
        samples=tuple(_shown(pair, metric) for pair in pairs[:SAMPLES]) if generates else (),
        flips=tuple(_shown(pair, metric) for pair in [*lost, *gained][:FLIPS]),
        closest=tuple(_shown(named[row.task, row.doc_id], metric) for row in close),
        lost=len(lost),
        gained=len(gained),
        total=len(pairs),
        repeats=1 + max((pair.baseline.repeat or 0 for pair in pairs), default=0),
        links=(("baseline", quote(baseline.samples)), ("candidate", quote(candidate.samples))),
    )


def _shown(pair: RowPair, metric: str) -> Shown:
    row = pair.baseline
    context, question = split_prompt(row.prompt, row.doc)
    choices = _choices(pair, metric)
    return Shown(
        row=row,
        context=context,
        question=question,
        title=own_question(row.doc, question),
        target=_text(row.target),
        baseline_score=_number(row.metrics, metric),
        candidate_score=_number(pair.candidate.metrics, metric),
        baseline_text="" if choices else _written(row.responses),
        candidate_text="" if choices else _written(pair.candidate.responses),
        baseline_answer=_text(row.answer(metric)),
        candidate_answer=_text(pair.candidate.answer(metric)),
        baseline_cut=row.truncated,
        candidate_cut=pair.candidate.truncated,
        choices=choices,
    )


def split_prompt(prompt: str, doc: dict[str, Any]) -> tuple[str, str]:
    """Return what stands before the last question, and the last question.

    The question is where the document's own question, or else its longest text, last occurs in
    the prompt, together with what stands before it since the last blank line. Where nothing of
    the document occurs, it is the end of the prompt.
    """
    texts = {key: value.strip() for key, value in doc.items() if isinstance(value, str)}
    found = {key: text for key, text in texts.items() if text and text in prompt}
    if found:
        key = max(found, key=lambda key: (key.lower() in _QUESTIONS, len(found[key])))
        start = prompt.rfind("\n\n", 0, prompt.rfind(found[key]))
        start = start + 2 if start >= 0 else 0
    else:
        start = max(0, len(prompt) - _TAIL)
    context = prompt[:start].rstrip("\n")
    if len(context) > _LONGEST_CONTEXT:
        left_out = len(context) - _LONGEST_CONTEXT
        context = f"{context[:_LONGEST_CONTEXT]}\n[… {left_out:,} characters more]"
    return context, prompt[start:]


def own_question(doc: dict[str, Any], prompt: str) -> str:
    """Return what the document calls its question; the prompt's if that is not part of it."""
    texts = [text for key, text in doc.items() if key.lower() in _QUESTIONS]
    own = (text.strip() for text in texts if isinstance(text, str))
    return next((text for text in own if text and text in prompt), prompt)


def _choices(pair: RowPair, metric: str) -> tuple[Choice, ...]:
    baseline, candidate = _likelihoods(pair.baseline, metric), _likelihoods(pair.candidate, metric)
    if baseline is None or candidate is None:
        return ()
    labels, texts = _labels(pair.baseline, len(baseline))
    right = _right_choice(pair.baseline.target, labels, texts)
    return tuple(
        Choice(
            label=labels[place],
            text=texts[place],
            baseline=baseline[place],
            candidate=candidate[place],
            baseline_pick=baseline[place] == max(baseline),
            candidate_pick=candidate[place] == max(candidate),
            right=place == right,
        )
        for place in range(len(baseline))
    )


def _labels(row: Row, count: int) -> tuple[list[str], list[str]]:
    """Return what each choice is called and what it says.

    A task that asks for letters has the texts in its document; one that asks for texts has no
    letters, so they are numbered.
    """
    continuations = [text.strip() for text in row.continuations]
    if len(continuations) != count or max(map(len, continuations), default=0) > _LONGEST_LABEL:
        texts = continuations if len(continuations) == count else [""] * count
        return [str(place + 1) for place in range(count)], texts
    listed = row.doc.get("choices")
    if not isinstance(listed, list):
        listed = [row.doc[key] for key in sorted(row.doc) if key.startswith("option_")]
    texts = [_text(item) for item in listed] if len(listed) == count else [""] * count
    return continuations, [
        text if text != label else "" for text, label in zip(texts, continuations, strict=True)
    ]


def _right_choice(target: Any, labels: list[str], texts: list[str]) -> int | None:
    """Return the place of the right choice, given by number, label or text."""
    if isinstance(target, int) and not isinstance(target, bool):
        return target
    text = str(target).strip()
    return next((names.index(text) for names in (labels, texts) if text in names), None)


def _likelihoods(row: Row, metric: str) -> list[float] | None:
    return choice_likelihoods(row.filtered.get(metric.partition(",")[2]))


def _written(responses: Any) -> str:
    """Return the text a model wrote; several where it was asked several times."""
    if isinstance(responses, list):
        return "\n\n".join(_written(response) for response in responses)
    return _text(responses)


def _number(metrics: dict[str, Any], metric: str) -> float | None:
    value = metrics.get(metric)
    return float(value) if isinstance(value, int | float) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
