"""Everything a run compares: scores row by row, the noise floor, what the models expect next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from infra.contracts.errors import ComparisonError
from infra.contracts.progress import Progress
from infra.contracts.records import ArmResult, Comparison, TaskScores
from infra.contracts.specs import BASELINE, RunSpec
from infra.conversations.calibration import load_tokenizer
from infra.judging import answered_rows, comparison, functions, gaps, noise, reliability, repeats
from infra.judging.pairing import RunRows, same_tokenizer
from infra.machine.garbage import uncollected
from infra.machine.ticker import Ticker
from infra.models.tokenizer_differences import differences
from infra.models.tokenizer_identity import identity
from infra.probes import fidelity
from infra.probes.fidelity.lengths import lengths

_Part = TypeVar("_Part")

_PATIENCE = 2.0
"""Seconds after which it is told what is being done, and how long it took so far."""


def compare(
    baseline: ArmResult,
    candidate: ArmResult,
    name: str,
    repeat: ArmResult | None,
    spec: RunSpec,
    folder: Path,
    progress: Progress,
) -> Comparison:
    """Return the whole comparison.

    Noise floor and fidelity come beside the scores: one that cannot be had is left out, which is
    said.

    Args:
        baseline: The arm as it came.
        candidate: The arm that is held against it.
        name: Of the candidate.
        repeat: The baseline, evaluated a second time, where a noise floor is wanted.
        spec: The run.
        folder: The run's folder, which holds rows and readings of all of them.
        progress: Hears what is left out, and what takes longer than two seconds.

    Raises:
        ComparisonError: The arms were not evaluated alike.
    """
    began, now = time.monotonic(), "scores"

    def tell() -> None:
        what = f"comparing {name} with the baseline: {now.replace('_', ' ')}"
        progress.update(what, round(time.monotonic() - began), None, "s")

    with Ticker(_PATIENCE, tell), uncollected():
        whole, rows, confidence = baseline, RunRows(folder), spec.judged_verdict.confidence
        if spec.verdict.early_stop:
            baseline = answered_rows.answered_of(
                whole, candidate, folder, answered_rows.SAMPLES.format(name)
            )
        scores = comparison.compare(
            baseline, candidate, rows, confidence, margins=spec.verdict.margins
        )
        if spec.verdict.early_stop:
            pooled = answered_rows.pooled(baseline, candidate, scores, rows)
            scores = scores.model_copy(update={"pooled": pooled})
        for arm, result in ((BASELINE, baseline), (name, candidate)):
            for task, metric in _left_out(result.tasks.values()):
                progress.say(f"{task}: {metric} is no number in {arm} and is not compared")
        own = baseline.checkpoint.path  # of a baseline from elsewhere there may be no folder here
        tokenizer = load_tokenizer(
            own if own.is_dir() else candidate.checkpoint.path,
            trust_remote_code=spec.baseline.model.trust_remote_code,
        )
        parts: dict[str, Callable[[], object]] = {
            "reliability": partial(reliability.compare, baseline, candidate, rows),
            "functions": partial(functions.compare, baseline, candidate, rows, confidence),
            "repeats": partial(repeats.compare, baseline, candidate, rows, confidence),
            "gaps": partial(gaps.compare, baseline, candidate, rows, confidence),
            "lengths": partial(lengths, baseline, candidate, rows.of, tokenizer),
            "tokenizer_differs": partial(_tokenizers, baseline, candidate, name, spec),
        }
        if repeat:
            floor = partial(noise.floor, whole, repeat, rows)
            parts["noise"] = partial(_optional, "no noise floor", floor, progress)
        if baseline.reading and candidate.reading:
            near = partial(fidelity.compare, baseline.reading, candidate.reading, folder)
            parts["fidelity"] = partial(_optional, "no fidelity", near, progress)
        found = {}
        for now, make in parts.items():
            found[now] = make()
    return scores.model_copy(update=found)


def _tokenizers(
    baseline: ArmResult, candidate: ArmResult, name: str, spec: RunSpec
) -> tuple[str, ...]:
    tasks = baseline.tasks.items()
    if all(same_tokenizer(scores, candidate.tasks[task]) for task, scores in tasks):
        return ()
    folders = {BASELINE: baseline.checkpoint.path, name: candidate.checkpoint.path}
    if not all(folder.is_dir() for folder in folders.values()):
        return ()
    ours, theirs = (
        identity(folder, trust_remote_code=spec.arms[arm].model.trust_remote_code)
        for arm, folder in folders.items()
    )
    return differences(ours, theirs)


def _optional(without: str, make: Callable[[], _Part], progress: Progress) -> _Part | None:
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
