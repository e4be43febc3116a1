"""Tasks whose passages have to be retrieved before they can be asked."""

from __future__ import annotations

from pathlib import Path

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.suite.own.beside import named_beside
from infra.suite.own.documents import DOCUMENTS


def pending(spec: EvaluationSpec) -> list[TaskSpec]:
    """Return the tasks of a spec that wait for it, in order; quick."""
    return [task for task in spec.tasks if is_pending(task)]


def is_pending(task: TaskSpec) -> bool:
    """Return whether a task's settings name a folder of documents."""
    return bool(task.file and named_beside(Path(task.file).expanduser().absolute(), [DOCUMENTS]))


def require_retrieved(task: TaskSpec) -> None:
    """Refuse to ask a task that still shows its own passages in place of those that were found.

    Raises:
        EvaluationError: Nothing was retrieved for it.
    """
    if is_pending(task):
        raise EvaluationError(
            f"{task.name} cannot be asked: nothing was retrieved for its questions.",
            cause="Its passages are retrieved by the flows quantize-and-evaluate and "
            "evaluate-candidates, before any model is asked.",
            remedy="Run it by one of these, or give each row what was found, as `retrieved`.",
        )
