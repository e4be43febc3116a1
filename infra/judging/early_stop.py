"""Stops asking the candidate as soon as the verdict is certain.

The baseline has answered everything. The candidate answers the same rows in an order that
is fixed before it answers anything, in rounds; after each round the rows so far are compared and
judged as a whole evaluation is, with limits that allow to look (see `infra.judging.sequential`). It
ends with the first round whose verdict is PASS, each task having rows enough to speak for itself,
or FAIL with an observed loss of at least the margin.

The order. Within a task without subtasks, rows are shuffled, and the j-th of its n rows gets the
place (j + U) / n, U uniform in [0, 1). A round asks every row whose place is below its share, over
all tasks. So each row has the same chance to come by then, and each task has its part of the
rows to within one: a stratified random sample.

Why looking at the ends of rounds keeps the level. Limits hold at all rows at once, so the ends of
some rounds, chosen by the order alone, are no further chance to err. That each of them holds its
tasks in proportion makes up for tasks with unequal losses: with t_k rows of task k, whose true mean
is m_k, the capital of a strategy with stake u has grown by a martingale times the product of
(1 + u (m_k - m) / (1 + m)) ^ t_k, and that product is at most 1 if the t_k are in proportion
(logarithms are concave). After single rows in between it may be more. What else a verdict needs,
such as no task beyond its own margin, can only make a stop rarer.

Only tasks whose rows are right or wrong take part. Others that no pooled effect counts run
whole. A task that the effect counts, but whose rows are shares or whose other metrics cannot be
made again over a part of its rows, is refused, and so are tasks that ask the same questions: their
rows are no news twice, which the test cannot know.
"""

from __future__ import annotations

import importlib.metadata
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.records import ArmResult, TaskScores, Verdict
from infra.contracts.specs import VerdictSpec
from infra.judging import answered_rows, comparison
from infra.judging.pairing import RunRows
from infra.judging.sequential import lower_limits
from infra.judging.verdict import decide
from infra.store.content import code_digest, digest_file, digest_of
from infra.suite.metrics import in_points, is_corpus
from infra.suite.rows import Documents, Row

SHARES = (0.1, 0.15, 0.22, 0.33, 0.5, 0.75, 1.0)
"""Of all rows, done by the end of each round: each about half as many again, so that of a stopped
evaluation about a third at most was answered after the verdict was certain."""

_GUARD = 0.5
"""Confidence with which each task has to keep its own margin before a PASS ends it. Of a task that
loses just that much, half of all whole evaluations show more and half less; so do no more than half
of those that may stop, which could else pass it on a handful of rows."""

_FEW = 0.01
"""Share of rows that may stand in two tasks: data sets repeat some questions."""

_FLOAT_NOISE = 1e-9

_DECIDING = (
    "contracts", "judging/answered_rows.py", "judging/asked.py", "judging/chance.py",
    "judging/choices.py", "judging/comparison.py", "judging/corpus.py", "judging/early_stop.py",
    "judging/labels.py", "judging/pairing.py", "judging/sequential.py", "judging/statistics",
    "judging/verdict", "machine/garbage.py", "scoring/ways.py", "store/content.py",
    "store/runs_identity.py", "store/usage.py", "suite/metrics.py", "suite/rows.py",
)  # fmt: skip
"""Files and folders whose change may move the end: all that this one comes to import."""

_LIBRARIES = ("numpy", "scipy", "statsmodels", "sacrebleu", "pydantic")
"""Packages that compute limits, or read what was scored."""

Ask: TypeAlias = Callable[[str, Documents, Path], TaskScores]
"""Task or group, documents of its parts, file for its rows → scores over these."""


@dataclass(frozen=True)
class Rounds:
    """Tasks that run in rounds."""

    baseline: ArmResult
    """Over all its rows."""

    tasks: tuple[str, ...]
    """Tasks and groups that run in rounds; the others run whole."""

    verdict: VerdictSpec
    margin_points: float
    """That the verdict is held against."""

    run: Path
    """The run's folder, which holds the baseline's rows."""

    def identity(self) -> dict[str, object]:
        """Return all that decides where it stops, besides the candidate's answers."""
        return {
            "baseline": {
                name: digest_file(self.run / scores.samples).sha256
                for name, scores in self.baseline.tasks.items()
            },
            "tasks": self.tasks,
            "margin": self.margin_points,
            "task_margin": self.verdict.task_margin_points,
            "margins": self.verdict.margins,
            "confidence": self.verdict.confidence,
            "shares": SHARES,
            "code": code_digest(*_DECIDING),
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        }

    def ask(
        self,
        ask: Ask,
        whole: Mapping[str, TaskScores],
        samples: Callable[[str], Path],
        progress: Progress,
    ) -> dict[str, TaskScores]:
        """Ask round after round until the verdict is certain or all rows are answered.

        What was answered in an earlier round has to be kept by `ask`: every round names
        all rows so far.

        Args:
            ask: Asks some documents of one task.
            whole: Scores of the tasks that run whole; paths of their rows are absolute.
            samples: Task → file for its rows, absolute; each round writes it anew.
            progress: Hears how far it is.

        Returns:
            Scores over the rows that were answered.
        """
        numbers = {
            task: _numbers(answered_rows.rows_of(self.baseline.tasks[task], self.run))
            for task in self.tasks
        }
        total = sum(len(documents) for parts in numbers.values() for documents in parts.values())
        seconds, kept = dict.fromkeys(self.tasks, 0.0), dict[str, int]()
        found: dict[str, TaskScores] = {}
        for share in SHARES:
            wanted = {task: _first(parts, share) for task, parts in numbers.items()}
            if not all(documents for parts in wanted.values() for documents in parts.values()):
                continue  # lm-eval has no score for a task without rows
            rows = sum(len(documents) for parts in wanted.values() for documents in parts.values())
            progress.say(f"asking {rows:,} of {total:,} rows")
            for task, documents in wanted.items():
                scores = ask(task, documents, samples(task))
                seconds[task] += scores.seconds
                kept.setdefault(task, scores.kept)  # later rounds find what was asked before them
                found[task] = scores.model_copy(
                    update={"samples": str(samples(task)), "seconds": round(seconds[task], 2),
                            "kept": kept[task]}
                )  # fmt: skip
            if rows == total:
                break
            verdict = self._judge({**whole, **found})
            if verdict is not None:
                progress.say(f"{verdict.status} is certain after {rows:,} of {total:,} rows; "
                             "no more are asked")  # fmt: skip
                break
        return found

    def _judge(self, tasks: Mapping[str, TaskScores]) -> Verdict | None:
        """Return the verdict on the rows so far if it is the last word."""
        other = self.baseline.model_copy(update={"tasks": dict(tasks)})
        with TemporaryDirectory(prefix="assay-round-") as name:
            baseline = answered_rows.answered_of(self.baseline, other, self.run, into=name)
            rows = RunRows(self.run)
            found = comparison.compare(
                baseline, other, rows, self.verdict.confidence, margins=self.verdict.margins
            )
            pooled = answered_rows.pooled(baseline, other, found, rows)
            if pooled is None:
                return None
            guarded = all(
                self._within(baseline.tasks[task], other.tasks[task], rows) for task in pooled.tasks
            )
        verdict = decide(
            found.model_copy(update={"pooled": pooled}),
            self.verdict,
            what="The candidate",  # its words are not kept
            margin_points=self.margin_points,
            stopped_after=pooled.rows,
        )
        # A shown loss that is smaller than the margin may still turn out to be acceptable.
        lost = -100 * pooled.difference >= self.margin_points - _FLOAT_NOISE
        certain = guarded if verdict.status == "PASS" else verdict.status == "FAIL" and lost
        return verdict if certain else None

    def _within(self, baseline: TaskScores, candidate: TaskScores, rows: RunRows) -> bool:
        """Return whether so few rows say enough about one task."""
        limit = lower_limits([*answered_rows.steps(baseline, candidate, rows)], _GUARD)[-1]
        own = self.verdict.own_margin(baseline.name, baseline.primary_metric)
        return bool(100 * limit > -(self.verdict.task_margin_points if own is None else own))


def rounds(baseline: ArmResult, verdict: VerdictSpec, margin_points: float, run: Path) -> Rounds:
    """Return the rounds of the candidate.

    Args:
        baseline: The baseline over all its rows.
        verdict: Confidence and the margin of each task.
        margin_points: The margin over all rows that the verdict is held against.
        run: The run's folder.

    Raises:
        EvaluationError: No honest verdict can be had from a part of these rows.
    """
    tasks, documents = [], []
    for name, scores in baseline.tasks.items():
        rows = answered_rows.rows_of(scores, run)
        if _is_pooled(scores, rows):
            _require_right_or_wrong(scores, rows)
            tasks.append(name)
            documents += [(row.task, row.question) for row in rows]
    if not tasks:
        raise EvaluationError(
            "verdict.early_stop is on, but no task has rows that are right or wrong.",
            cause="Only such rows can be tested while they come in.",
            remedy="Set verdict.early_stop to False. What the baseline answered is kept.",
        )
    _require_other_questions(documents)
    return Rounds(baseline, tuple(tasks), verdict, margin_points, run)


def _is_pooled(scores: TaskScores, rows: Sequence[Row]) -> bool:
    """Return whether the pooled effect counts a task: it has points, and is the mean of its rows.

    As it is declared: rows that break it are refused, and not run whole as if without points.
    """
    metric = scores.primary_metric
    score = scores.metrics.get(metric)
    values = [row.metrics.get(metric) for row in rows]
    if score is None or not in_points(metric, scores.name, score) or is_corpus(score):
        return False
    numbers = [value for value in values if isinstance(value, int | float)]
    if not values or len(numbers) < len(values):
        return False
    return bool(abs(sum(numbers) / len(numbers) - score.value) <= _FLOAT_NOISE)


def _require_right_or_wrong(scores: TaskScores, rows: Sequence[Row]) -> None:
    if not {row.metrics[scores.primary_metric] for row in rows} <= {0, 1}:
        fact = f"the rows of {scores.name} are not simply right or wrong"
    elif answered_rows.means(scores, rows) is None:
        fact = f"{scores.name} has a metric that is not the mean of its rows"
    else:
        return
    raise EvaluationError(
        f"verdict.early_stop is on, but {fact}.",
        cause="The test that may stop early takes other rows; without this task the verdict would "
        "not be about all rows.",
        remedy="Set verdict.early_stop to False, or leave the task out. What the baseline "
        "answered is kept.",
    )


def _require_other_questions(documents: Sequence[tuple[str, str]]) -> None:
    first: dict[str, str] = {}
    again = [
        (task, other)
        for task, document in documents
        if (other := first.setdefault(document, task)) != task
    ]
    if len(again) > _FEW * len(documents):
        one, other = again[0]
        raise EvaluationError(
            f"verdict.early_stop is on, but {other} and {one} ask the same questions.",
            cause="Asked twice, a question is no news twice; the test that may stop early would "
            "be too sure.",
            remedy="Leave one of the tasks out, or set verdict.early_stop to False. What the "
            "baseline answered is kept.",
        )


def _numbers(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Return the numbers of the documents of each part."""
    numbers: dict[str, dict[int, None]] = {}
    for row in rows:
        numbers.setdefault(row.task, {})[row.doc_id] = None
    return {part: [*documents] for part, documents in numbers.items()}


def _first(numbers: Mapping[str, Sequence[int]], share: float) -> dict[str, list[int]]:
    """Return the documents of each part whose place in the order is below a share."""
    return {
        part: [
            number
            for number, place in zip(documents, _places(part, len(documents)), strict=True)
            if place < share or share == 1
        ]
        for part, documents in numbers.items()
    }


def _places(part: str, size: int) -> list[float]:
    """Return the place of each document in the fixed order, in [0, 1)."""
    chance = random.Random(digest_of(["early stop", part, size]))  # noqa: S311
    return [(turn + chance.random()) / size for turn in chance.sample(range(size), size)]
