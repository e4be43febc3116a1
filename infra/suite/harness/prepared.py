"""One loaded suite for a process: all arms get the very same one."""

from __future__ import annotations

from threading import Lock

from infra.contracts.progress import Progress
from infra.contracts.specs import EvaluationSpec
from infra.store.settings import Settings
from infra.suite.harness.keys import suite_entries, task_keys
from infra.suite.harness.questions.question import Questions
from infra.suite.harness.remembered import remembered, was_checked
from infra.suite.harness.suite import HarnessSuite, prepare

_lock = Lock()
_last: dict[tuple[object, ...], HarnessSuite] = {}


def prepared(spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> HarnessSuite:
    """Return the suite of a spec; load it unless this process has it already.

    Raises:
        EvaluationError: As `infra.suite.harness.suite.prepare`.
    """
    with _lock:
        keys = task_keys(spec, settings, progress).values()
        wanted = (spec.model_dump_json(), settings.cache, *keys)
        if wanted not in _last:
            _last.clear()
            _last[wanted] = prepare(spec, settings=settings, progress=progress)
        return _last[wanted]


def check_suite(spec: EvaluationSpec, *, settings: Settings, progress: Progress) -> None:
    """Load the tasks and check their marking, unless that has been done for the same rows.

    Raises:
        EvaluationError: As `infra.suite.harness.suite.prepare`.
    """
    if not was_checked(spec, settings, progress):
        prepared(spec, settings=settings, progress=progress)


def questions_of(
    spec: EvaluationSpec, *, settings: Settings, progress: Progress
) -> tuple[Questions, ...]:
    """Return the first questions of each task; load the tasks unless these are remembered.

    Raises:
        EvaluationError: As `infra.suite.harness.suite.prepare`.
    """
    facts = remembered(spec, settings, progress)
    if facts is None or not facts.questions:
        return prepared(spec, settings=settings, progress=progress).questions
    # Another spec may have named the same tasks by their group.
    lines = {
        leaf.name: task.name
        for entry, task in suite_entries(spec, settings).values()
        for leaf in entry.leaves
    }
    return tuple(
        one.model_copy(update={"line": lines.get(one.task, one.line)}) for one in facts.questions
    )
