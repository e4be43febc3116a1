"""One loaded exam for a process: both arms sit the very same one."""

from __future__ import annotations

from threading import Lock

from infra.contracts.progress import Progress
from infra.contracts.specs import EvaluationSpec
from infra.store.settings import Settings
from infra.suite.harness.keys import exam_entries, task_keys
from infra.suite.harness.questions.question import Questions
from infra.suite.harness.suite import Exam, is_known_good, known_questions, prepare

_lock = Lock()
_last: dict[tuple[object, ...], Exam] = {}


def prepared(spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> Exam:
    """Return the exam of a spec; load it unless this process has it already.

    Raises:
        EvaluationError: As `infra.suite.harness.suite.prepare`.
    """
    with _lock:
        rows = task_keys(spec, settings, progress).values()
        wanted = (spec.model_dump_json(), settings.cache, *rows)
        if wanted not in _last:
            _last.clear()
            _last[wanted] = prepare(spec, settings=settings, progress=progress)
        return _last[wanted]


def check_exam(spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> None:
    """Load the exam and check its marking, unless that has been done for the same rows.

    Raises:
        EvaluationError: As `infra.suite.harness.suite.prepare`.
    """
    if not is_known_good(spec, settings, progress):
        prepared(spec, settings=settings, progress=progress)


def questions_of(
    spec: EvaluationSpec, *, settings: Settings, progress: Progress
) -> tuple[Questions, ...]:
    """Return the first questions of each task; load the exam unless they are remembered.

    Raises:
        EvaluationError: As `infra.suite.harness.suite.prepare`.
    """
    known = known_questions(spec, settings, progress)
    if not known:
        return prepared(spec, settings=settings, progress=progress).questions
    # Another spec may have named the same tasks by their group.
    lines = {
        leaf.name: task.name
        for entry, task in exam_entries(spec, settings).values()
        for leaf in entry.leaves
    }
    return tuple(one.model_copy(update={"line": lines.get(one.task, one.line)}) for one in known)
