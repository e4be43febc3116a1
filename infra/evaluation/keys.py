"""What decides a task's scores besides the model, as one digest, without importing lm-eval."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from infra.content import digest_of
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.evaluation.catalog import Entry, catalog
from infra.evaluation.sources import Rows, find_rows
from infra.progress import Progress, Silent
from infra.settings import Settings

_LIBRARIES = ("lm-eval", "datasets", "transformers")
_NOT_THE_EXAM = {"tasks", "datasets", "concurrency", "triage", "noise_floor"}
"""Of the evaluation: told apart task by task, or without effect on scores."""


def exam_entries(spec: EvaluationSpec) -> dict[str, tuple[Entry, TaskSpec]]:
    """Return every task and group of the exam with the line of the spec it comes from.

    Where a tag or group and a line of its own name the same task, the line of its own counts.

    Raises:
        UnknownTask: lm-eval does not know a name.
    """
    known = catalog()
    lines = {task.name: task for task in spec.tasks}
    return {
        name: (entry, lines.get(name, task))
        for task in spec.tasks
        for name, entry in known.entries([task.name]).items()
    }


def task_keys(
    spec: EvaluationSpec, settings: Settings, progress: Progress | None = None
) -> dict[str, str]:
    """Return the digest of each task and group of the exam, in order.

    It covers lm-eval's version, the rows, the shots, the limits, the chat settings, the seed,
    this package and the scoring client. Concurrency is not in it: it must not decide a score.

    Raises:
        UnknownTask: lm-eval does not know a name.
        DatasetError: The rows of a dataset cannot be had.
    """
    exam = exam_entries(spec)
    entries = [entry for entry, _ in exam.values()]
    rows = find_rows(entries, spec, settings=settings, progress=progress or Silent())
    return {name: task_key(entry, task, rows, spec) for name, (entry, task) in exam.items()}


def task_key(entry: Entry, task: TaskSpec, rows: Mapping[str, Rows], spec: EvaluationSpec) -> str:
    """Return the digest of one task or group, with its rows found already."""
    read = {leaf.dataset: rows[leaf.dataset].digest for leaf in entry.leaves if leaf.dataset}
    return digest_of(
        {
            "entry": entry.name,
            "rows": read,
            "task": task.model_dump(mode="json", exclude={"name"}),
            "exam": spec.model_dump(mode="json", exclude=_NOT_THE_EXAM),
            "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
            "code": _code(),
        }
    )


@cache
def _code() -> str:
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *(here.parent / "scoring").glob("*.py")])
    return digest_of([[file.name, file.read_text(encoding="utf-8")] for file in files])
