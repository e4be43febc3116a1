"""Tasks whose passages have to be retrieved before they can be asked."""

from __future__ import annotations

from pathlib import Path

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.suite.own.beside import named_beside
from infra.suite.own.documents import DOCUMENTS

PROGRAM = "documents"
"""Environment of the libraries that retrieve; they compute nothing on accelerators."""


def pending(spec: EvaluationSpec) -> list[TaskSpec]:
    """Return the tasks of a spec that wait for it, in order; quick."""
    return [
        task
        for task in spec.tasks
        if task.file and named_beside(Path(task.file).expanduser().absolute(), [DOCUMENTS])
    ]


def require_retrieved(spec: EvaluationSpec) -> None:
    """Refuse to ask tasks that still show their own passages in place of those that were found.

    Raises:
        EvaluationError: Nothing was retrieved for one of them.
    """
    for task in pending(spec):
        raise EvaluationError(
            f"{task.name} cannot be asked: nothing was retrieved for its questions.",
            cause="Flows retrieve its passages before any model is asked; this one did not.",
            remedy="Give each row what was found, as `retrieved`, or run it by a recipe.",
        )
