"""A made-up run that also asks wikitext, whose perplexity has no points."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path

from infra.contracts.records import ArmResult, MetricValue, Report
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import change_name, compare
from infra.judging.family import together
from infra.judging.pairing import RunRows
from infra.judging.verdict import decide
from tests.infra.made_runs import make_row, make_run, of_pair, score, write_rows

TASK, METRIC = "wikitext", "word_perplexity,none"
WIDE = {"margin_points": 40.0, "task_margin_points": 50.0}
"""So that the tasks in points of a run of few rows pass."""


def make_wikitext(
    folder: Path, margins: Mapping[str, float], *, worse: float = 0.0, alone: bool = False
) -> Report:
    """Write a run whose candidate takes `worse` nats more for a word of wikitext, and judge it.

    Args:
        folder: The run's folder.
        margins: As `VerdictSpec.margins`.
        worse: Mean of what a word takes more, nats.
        alone: Whether wikitext is the only task.
    """
    made = make_run(folder, rows=60)
    verdict = VerdictSpec(margins=dict(margins), **WIDE)
    made = made.model_copy(update={"spec": made.spec.model_copy(update={"verdict": verdict})})
    arms = {
        name: arm.model_copy(
            update={
                "tasks": ({} if alone else arm.tasks)
                | _wikitext(folder, name, worse if name != "baseline" else None)
            }
        )
        for name, arm in made.arms.items()
    }
    return judged(made.model_copy(update={"arms": arms}), folder)


def judged(made: Report, folder: Path) -> Report:
    """Return a run of one candidate, compared and judged once more."""
    spec = made.spec.judged_verdict
    found = compare(
        made.arms["baseline"], made.arms["quantized"], RunRows(folder), spec.confidence,
        margins=spec.margins,
    )  # fmt: skip
    found = together({"quantized": found})["quantized"]
    verdict = decide(found, made.spec.verdict, what=change_name(made.spec, "quantized"))
    return of_pair(made, comparison=found, verdict=verdict)


def _wikitext(folder: Path, arm: str, worse: float | None) -> dict[str, object]:
    chance, rows = random.Random(3), []
    for doc_id in range(62):
        words = chance.randint(50, 400)
        nats, noise = chance.gauss(3.0, 0.3), chance.gauss(0.0, 0.02)
        likelihood = -words * (nats + (0.0 if worse is None else worse + noise))
        rows.append(make_row(TASK, doc_id, "", f"page {doc_id}", [likelihood], {METRIC: 0.0},
                             {"page": f"page {doc_id}"}))  # fmt: skip
        rows[-1]["metrics"] = {METRIC: [likelihood, words]}
    samples = f"samples/{arm}/{TASK}.jsonl"
    write_rows(folder / samples, rows)
    totals = [sum(row["metrics"][METRIC][place] for row in rows) for place in (0, 1)]
    value = MetricValue(
        value=math.exp(-totals[0] / totals[1]), stderr=None, n=len(rows), higher_is_better=False,
        unit="value", aggregation="corpus",
    )  # fmt: skip
    numbers = [{**row, "metrics": {METRIC: 0.0}} for row in rows]
    scores = score(TASK, numbers, samples)
    return {TASK: scores.model_copy(update={"metrics": {METRIC: value}})}


def arms_of(report: Report) -> tuple[ArmResult, ArmResult]:
    """Return baseline and candidate."""
    return report.arms["baseline"], report.arms["quantized"]
