"""Everything a run compares: the exam row by row, the noise floor, what the models expect next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from infra.contracts.errors import ComparisonError
from infra.contracts.progress import Progress
from infra.contracts.records import ArmResult, Comparison, TaskScores
from infra.contracts.specs import RunSpec
from infra.conversations.calibration import load_tokenizer
from infra.judging import answered_rows as asked
from infra.judging import comparison, noise
from infra.probes import fidelity
from infra.probes.fidelity.lengths import lengths

_Part = TypeVar("_Part")


def compare(
    base: ArmResult,
    quantized: ArmResult,
    again: ArmResult | None,
    spec: RunSpec,
    folder: Path,
    progress: Progress,
) -> Comparison:
    """Return the whole comparison.

    Noise floor and fidelity come beside the exam: one that cannot be had is told and left out.

    Args:
        base: The arm as it came.
        quantized: The arm that was quantized.
        again: A second sitting of the base arm, where a noise floor is wanted.
        spec: What was asked.
        folder: The run's folder, which holds rows and readings of all of them.
        progress: Hears what is left out.

    Raises:
        ComparisonError: The arms did not sit the same exam.
    """
    whole = base
    if spec.verdict.early_stop:
        base = asked.asked_of(whole, quantized, folder)
    exam = comparison.compare(base, quantized, folder, spec.verdict.confidence)
    if spec.verdict.early_stop:
        pooled = asked.pooled(base, quantized, exam, folder)
        exam = exam.model_copy(update={"pooled": pooled})
    for arm, result in (("base", base), ("quantized", quantized)):
        for name, metric in _left_out(result.tasks.values()):
            progress.say(f"{name}: {metric} is no number in the {arm} arm and is not compared")
    tokenizer = load_tokenizer(base.checkpoint.path, trust_remote_code=spec.model.trust_remote_code)
    return exam.model_copy(
        update={
            "noise": (
                _told("no noise floor", partial(noise.floor, whole, again, folder), progress)
                if again
                else None
            ),
            "fidelity": (
                _told(
                    "no fidelity",
                    partial(fidelity.compare, base.reading, quantized.reading, folder),
                    progress,
                )
                if base.reading and quantized.reading
                else None
            ),
            "lengths": lengths(base, quantized, folder, tokenizer),
        }
    )


def _told(without: str, make: Callable[[], _Part], progress: Progress) -> _Part | None:
    """Return a part of the comparison, or none after telling why there is none."""
    try:
        return make()
    except ComparisonError as error:
        progress.say(f"{without}. {error} The scores are not touched by this.")
        return None


def _left_out(tasks: Iterable[TaskScores]) -> Iterator[tuple[str, str]]:
    for task in tasks:
        for metric in task.left_out:
            yield task.name, metric
        yield from _left_out(task.subtasks.values())
