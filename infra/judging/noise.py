"""What changes with no change of the model: the baseline beside itself, in another order.

An engine sums in an order that depends on what else it computes at the time, so that two nearly
equal tokens may change places. Flips between baseline and candidate are read beside these.
"""

from __future__ import annotations

from infra.contracts.errors import ComparisonError
from infra.contracts.records import ArmResult, NoiseFloor, NoiseTask, TaskScores
from infra.judging.pairing import RunRows


def floor(baseline: ArmResult, repeat: ArmResult, rows: RunRows) -> NoiseFloor:
    """Return how the rows of the baseline and of its repeat differ.

    Args:
        baseline: The first evaluation.
        repeat: The second one.
        rows: Of both.

    Raises:
        ComparisonError: They are of different models, or of different tasks.
    """
    if baseline.checkpoint.identity != repeat.checkpoint.identity:
        raise ComparisonError(
            "The baseline and its repeat, for the noise floor, are of different models.",
            remedy="Ask the baseline twice.",
            field="checkpoint",
        )
    if baseline.tasks.keys() != repeat.tasks.keys():
        raise ComparisonError(
            f"The baseline was asked different tasks: {', '.join(baseline.tasks)} the first time, "
            f"{', '.join(repeat.tasks)} the second time.",
            remedy="Run the evaluation again.",
            field="tasks",
        )
    return NoiseFloor(
        tasks={
            name: _of_task(scores, repeat.tasks[name], rows)
            for name, scores in baseline.tasks.items()
        }
    )


def _of_task(first: TaskScores, second: TaskScores, rows: RunRows) -> NoiseTask:
    metric = first.primary_metric
    pairs = rows.paired(first, second)
    better = 1 if first.metrics[metric].higher_is_better else -1
    steps = [
        better * (other - one)
        for one, other in (
            (pair.baseline.metrics.get(metric), pair.candidate.metrics.get(metric))
            for pair in pairs
        )
        # Corpus metrics keep tuples or nothing in their rows.
        if isinstance(one, int | float) and isinstance(other, int | float)
    ]
    return NoiseTask(
        rows=len(pairs),
        changed=sum(pair.differs(metric) for pair in pairs),
        lost=sum(step < 0 for step in steps),
        gained=sum(step > 0 for step in steps),
    )
